# frozen_string_literal: true

# app.rb, with two handlers of every lifecycle event and one for errors, each of which says that it was called.

require_relative "app"

Sidekiq.configure_server do |config|
  config.error_handlers << ->(error, context, _config) { note("error", error.class.name, context[:context], context[:job]&.fetch("jid", nil)) }

  %i[startup heartbeat beat quiet shutdown exit].each do |event|
    next unless config[:lifecycle_events].key?(event) # Sidekiq 7 has no `exit`

    2.times do |index|
      config.on(event) do
        sleep(ENV.fetch("SLOW_QUIET", 0).to_f) if event == :quiet
        note("event", event, index)
      end
    end
  end
end
