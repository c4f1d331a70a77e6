# frozen_string_literal: true

# app.rb, with two handlers of every lifecycle event and one for errors, each of which says that it was called.

require_relative "app"

Sidekiq.configure_server do |config|
  config.error_handlers << ->(error, context, _config) { note("error", error.class.name, context[:context], context[:job]&.fetch("jid", nil)) }

  %i[startup heartbeat beat quiet shutdown exit].each do |event|
    next unless config[:lifecycle_events].key?(event) # Sidekiq 7 has no `exit`

    2.times { |index| config.on(event) { note("event", event, index) } }
  end
end
