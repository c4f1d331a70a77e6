# frozen_string_literal: true

module Gokiq
	module Sidecar
		# A job on its way through a worker.
		class Job
			# @parameter number [Integer] The claim's number.
			# @parameter route [Route] Where it was claimed.
			# @parameter payload [String] The bytes from Redis.
			# @parameter verdict [Verdict | Nil] What it fails with instead of running.
			def initialize(number, route, payload, verdict = nil)
				@number = number
				@route = route
				@payload = payload
				@verdict = verdict
				@parsed = nil
				@slot = nil
				@name = nil
				@started = nil
			end

			# @attribute [Integer] The claim's number.
			attr :number

			# @attribute [Route] Its capsule and queue.
			attr :route

			# @attribute [String] The bytes from Redis.
			attr :payload

			# @attribute [String | Nil] Its class, of a job that says nothing but that, its jid and its arguments.
			attr :name

			# @attribute [Verdict | Nil] What it fails with instead of running.
			attr :verdict

			# @attribute [Hash | Nil] The parsed payload, when another lane has parsed it already.
			attr_accessor :parsed

			# @attribute [Slot | Nil] Where it runs; nil while it waits.
			attr_accessor :slot

			# @attribute [Integer | Nil] When it began, microseconds of the monotonic clock; nil while it waits.
			attr :started

			# @attribute [Integer | Nil] When it ended, likewise.
			attr :finished

			# It begins.
			def start
				@started = Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
			end

			# It has ended.
			# @returns [Integer] {finished}.
			def finish
				@finished = Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
			end
		end

		# A queue as one capsule reads it.
		Route = Struct.new(:capsule, :queue)
	end
end
