# frozen_string_literal: true

# app.rb, which looks for due jobs twice a second.

require_relative "app"

Sidekiq.configure_server do |config|
  config[:poll_interval_average] = 0.5
end
