# frozen_string_literal: true

# app.rb with a second capsule, which shares a queue with the first, and a label.

require_relative "app"

Sidekiq.configure_server do |config|
  config[:labels] = ["blue"]

  config.capsule("single") do |capsule|
    capsule.concurrency = 1
    capsule.queues = %w[solo default]
  end
end
