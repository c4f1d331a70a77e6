# frozen_string_literal: true

# The small application, with handlers that take their time.

require_relative "plain_app"

Sidekiq.configure_server do |config|
	config.on(:quiet) do
		sleep(1.5)
		note("quiet over")
	end

	config.on(:beat) do
		sleep(2)
		note("beat over")
	end
end
