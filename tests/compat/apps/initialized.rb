# frozen_string_literal: true

# app.rb, configured in Ruby as an initializer does it: after the command line and the file were read.

require_relative "app"

Sidekiq.configure_server do |config|
  config.concurrency = 9
  config.queues = %w[high,2 low]
  config[:tag] = "from Ruby"

  config.capsule("unsafe") do |capsule|
    capsule.concurrency = 1
    capsule.queues = %w[legacy]
  end
end
