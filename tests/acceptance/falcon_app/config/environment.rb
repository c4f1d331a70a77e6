# frozen_string_literal: true

require_relative "application"
Rails.application.initialize!
require "#{ENV.fetch("TEST_ROOT")}/tests/acceptance/plain_app/app"
