# frozen_string_literal: true

# The small application, with a handler that takes its time.

require_relative "plain_app"

Sidekiq.configure_server do |config|
	config.on(:quiet) do
		sleep(1.5)
		note("quiet over")
	end
end
