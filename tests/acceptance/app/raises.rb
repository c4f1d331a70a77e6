# frozen_string_literal: true

require "sidekiq"

raise "the sun is too bright"
