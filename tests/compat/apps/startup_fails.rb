# frozen_string_literal: true

# app.rb with a startup handler that gives up.

require_relative "app"

Sidekiq.configure_server do |config|
  config.on(:startup) { raise ArgumentError, "no startup today" }
end
