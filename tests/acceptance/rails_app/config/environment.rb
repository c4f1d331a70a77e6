# frozen_string_literal: true

require_relative "application"
Rails.application.initialize!
require_relative "../records" if ENV["DATABASE_URL"]
