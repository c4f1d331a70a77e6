# frozen_string_literal: true

# The application of the growth curves: its jobs end in nothing, completions are read from Sidekiq's own counter.

require "sidekiq"

Sidekiq.configure_server do |config|
	config.logger.level = Logger::WARN
end

# Does nothing, with whatever arguments.
class NoopJob
	include Sidekiq::Job

	# @parameter text [String] Makes the payload as long as it is to be.
	def perform(text)
	end
end

# Waits, as a job does that calls another service.
class SleepJob
	include Sidekiq::Job

	# @parameter duration_ms [Integer] On average: half of it to one and a half, so that jobs do not end in step.
	def perform(duration_ms)
		sleep(duration_ms * (0.5 + rand) / 1000.0)
	end
end
