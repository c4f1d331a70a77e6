# frozen_string_literal: true

# The application of the benchmarks, the same file for every system. A job's first argument is its slot.

require "sidekiq"

require_relative "slots"

Sidekiq.configure_server do |config|
	config.logger.level = Logger::WARN
	SLOTS = Bench::Slots.new(ENV.fetch("BENCH_SLOTS"))
end

# Does nothing: what is left is the cost of running a job.
class NoopJob
	include Sidekiq::Job

	# @parameter index [Integer]
	def perform(index)
		SLOTS.done(index)
	end
end

# Waits, as a job does that calls another service.
class SleepJob
	include Sidekiq::Job

	# @parameter index [Integer]
	# @parameter duration_ms [Integer]
	# @parameter text [String] Makes the payload as long as real ones are.
	def perform(index, duration_ms, text)
		sleep(duration_ms / 1000.0)
		SLOTS.done(index)
	end
end
