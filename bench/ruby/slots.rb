# frozen_string_literal: true

module Bench
	# A file in shared memory with one slot per job: the monotonic time at which it ended, in nanoseconds, 0 before.
	# The other side is `bench/slots.py`. Processes share the map, and no two jobs share a slot, so nothing is locked.
	class Slots
		BYTES = 8

		# @parameter path [String] Of a file that has its full size already.
		def initialize(path)
			# `IO::Buffer` says on each use that it is experimental:
			Warning[:experimental] = false
			@buffer = File.open(path, "r+b") { |file| IO::Buffer.map(file) }
		end

		# Note that a job has ended.
		# @parameter index [Integer] Of the job.
		def done(index)
			@buffer.set_value(:u64, index * BYTES, Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond))
		end
	end
end
