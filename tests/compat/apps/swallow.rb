# frozen_string_literal: true

# app.rb with a middleware that keeps one class from running.

require_relative "app"

class SwallowedJob
  include Sidekiq::Job

  def perform
    note("swallowed job ran", jid)
  end
end

class Swallow
  include Sidekiq::ServerMiddleware

  def call(instance, _job, _queue)
    yield unless SwallowedJob === instance
  end
end

Sidekiq.configure_server do |config|
  config.server_middleware { |chain| chain.add(Swallow) }
end
