# frozen_string_literal: true

# app.rb, configured in Ruby as an initializer does it: after the command line and the file were read.

require_relative "app"

Sidekiq.configure_server do |config|
  config.concurrency = 9
  config.queues = %w[high,2 low]
  config[:tag] = "from Ruby"
  config[:max_retries] = 0
  config[:dead_max_jobs] = 3
  config.average_scheduled_poll_interval = 0.2
  config.logger = Logger.new(File.join(ENV.fetch("TEST_JOURNAL"), "log"), level: Logger::INFO)
  config.error_handlers << ->(error, context, _config) { note("error", context[:job]["jid"], error.message) }
  config.death_handlers << ->(job, error) { note("death", job["jid"], error.message) }

  config.capsule("unsafe") do |capsule|
    capsule.concurrency = 1
    capsule.queues = %w[legacy]
  end
end
