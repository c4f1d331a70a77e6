# frozen_string_literal: true

# The application of the benchmarks, the same file for every system. A job's first argument is its slot.

require_relative "server"

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

# Notes that it has begun, then waits: who has noted it is in flight.
class HoldJob
	include Sidekiq::Job

	# @parameter index [Integer]
	# @parameter duration_ms [Integer]
	# @parameter text [String]
	def perform(index, duration_ms, text)
		SLOTS.done(index)
		sleep(duration_ms / 1000.0)
	end
end

# Computes, as a job does that renders or parses.
class BusyJob
	include Sidekiq::Job

	# What takes about a millisecond; the report's µs of Ruby a job tell what it took.
	ROUNDS = 22_000

	# @parameter index [Integer]
	# @parameter duration_ms [Integer]
	def perform(index, duration_ms)
		BusyJob.compute(duration_ms)
		SLOTS.done(index)
	end

	# @parameter duration_ms [Integer]
	# @returns [Integer]
	def self.compute(duration_ms)
		sum = 0
		(ROUNDS * duration_ms).times { |round| sum ^= round }
		sum
	end
end
