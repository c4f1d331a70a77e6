# frozen_string_literal: true

# polled.rb, with a client middleware that drops some jobs and marks the others.

require_relative "polled"

class Marker
  include Sidekiq::ClientMiddleware

  def call(_job_class, job, _queue, _pool)
    return false if job["args"] == ["drop"]

    job["marked"] = job["jid"]
    yield
  end
end

Sidekiq.configure_server do |config|
  config.client_middleware { |chain| chain.add(Marker) }
end
