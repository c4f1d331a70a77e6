# frozen_string_literal: true

# An application that cleans up when its process ends.

require "sidekiq"

# Appends a line where the test reads it.
def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

at_exit { note("at_exit of #{Process.pid}") }

class StubbornJob
	include Sidekiq::Job

	def perform
		note("started")
		begin
			sleep
		rescue Sidekiq::Shutdown
			sleep
		end
	end
end
