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
				@started = nil
			end

			# @attribute [Integer] The claim's number.
			attr :number

			# @attribute [Route] Its capsule and queue.
			attr_accessor :route

			# @returns [Boolean] Whether it is a {PlainJob}.
			def plain?
				false
			end

			# Keep nothing of the frame that the job came in.
			def detach
			end

			# @attribute [String] The bytes from Redis.
			attr :payload

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

		# A job whose payload says nothing but its class, jid, arguments, and what only Sidekiq's client and retries read. So
		# only the arguments are parsed. It comes in a frame with others and shares its bytes.
		class PlainJob < Job
			# Of a job without arguments.
			NONE = [].freeze

			# @parameter name [String] The class.
			# @parameter jid [String]
			# @parameter body [String] The frame's.
			# @parameter at [Integer] Where the payload begins in it.
			# @parameter size [Integer] Its bytes.
			# @parameter args_at [Integer] Where the arguments begin in the payload.
			# @parameter args_size [Integer] Their bytes.
			def initialize(number, name, jid, body, at, size, args_at, args_size)
				@number = number
				@name = name
				@jid = jid
				@body = body
				@at = at
				@size = size
				@args_at = args_at
				@args_size = args_size
				@slot = nil
			end

			# @attribute [String] The class.
			attr :name

			# @attribute [String]
			attr :jid

			# @returns [Boolean] Whether it is one.
			def plain?
				true
			end

			# @returns [String] The bytes from Redis.
			def payload
				@payload ||= @body.byteslice(@at, @size)
			end

			# @returns [Array | Nil] The arguments; nil where they are none that JSON has.
			def args
				return NONE if @args_size == 2

				args = ::Sidekiq.load_json(@payload ? @payload.byteslice(@args_at, @args_size) : @body.byteslice(@at + @args_at, @args_size))
				args if Array === args
			rescue StandardError
				nil
			end

			# The frame may hold a megabyte of other jobs.
			def detach
				payload
				@body = nil
			end
		end

		# A queue as one capsule reads it.
		Route = Struct.new(:capsule, :queue)
	end
end
