# frozen_string_literal: true

# An application with jobs that end the worker they run in.

require "sidekiq"
require "async"

# Appends a line where the test reads it.
def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

Sidekiq.configure_server do |config|
	config.error_handlers << ->(error, _context, _config = nil) { note("handler #{error.class}") }
	config.death_handlers << ->(_job, error) { note("death #{error.class}") }
end

class WaitingJob
	include Sidekiq::Job

	def perform(number)
		note("waiting #{number}")
		sleep
	rescue StandardError, ScriptError, Async::Cancel
		note("rescued #{number}")
		raise
	ensure
		note("ensured #{number}")
	end
end

class ExitInThreadJob
	include Sidekiq::Job

	def perform
		Thread.new { exit(3) }
		sleep
	end
end

class ExitInTaskJob
	include Sidekiq::Job

	def perform
		Async { exit(3) }
		sleep
	end
end

# The exit is raised in the middle of it.
class ExitInBusyJob
	include Sidekiq::Job

	def perform
		Thread.new { exit(3) }
		deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 3
		nil until Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
		sleep
	end
end
