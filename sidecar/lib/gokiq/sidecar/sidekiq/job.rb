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

			# @returns [Integer] Microseconds of the monotonic clock.
			def self.now
				Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
			end

			# @returns [Array(String | Nil, String | Nil)] Its jid and its class, of an Active Job the wrapped one; nil where it
			#   has none that is text.
			def names
				job_hash = ::Sidekiq.load_json(payload)
				[job_hash["jid"], job_hash["wrapped"] || job_hash["class"]].map { |name| name if String === name }
			rescue StandardError
				[nil, nil]
			end

			# @returns [String] What an operator wants to know of it. Nothing of its arguments.
			def to_s
				jid, name = names.map { |text| text ? text[0, 200].scrub.gsub(/[[:cntrl:]]/, "?") : "?" }
				age = @started ? format("%.1f s", (Job.now - @started) / 1e6) : "not begun"
				"jid=#{jid} class=#{name} queue=#{@route.queue} age=#{age}"
			end

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
			# @parameter name [String] The class.
			# @parameter jid [String]
			# @parameter body [String] The frame's.
			# @parameter at [Integer] Where the payload begins in it.
			# @parameter size [Integer] Its bytes.
			# @parameter arguments [Arguments] Of the frame's jobs.
			# @parameter index [Integer] The job's place among them.
			def initialize(number, name, jid, body, at, size, arguments, index)
				@number = number
				@name = name
				@jid = jid
				@body = body
				@at = at
				@size = size
				@arguments = arguments
				@index = index
				@slot = nil
			end

			# @attribute [String] The class.
			attr :name

			# @attribute [String]
			attr :jid

			# @returns [Array(String, String)] Its jid and its class.
			def names
				[@jid, @name]
			end

			# @returns [Boolean] Whether it is one.
			def plain?
				true
			end

			# @returns [String] The bytes from Redis.
			def payload
				@payload ||= @body.byteslice(@at, @size)
			end

			# @returns [Array | Nil] The arguments, once; nil where they are none that JSON has, and after {detach}.
			def args
				@arguments&.take(@index)
			end

			# The frame may hold a megabyte of other jobs.
			def detach
				payload
				@body = @arguments = nil
			end
		end

		# The arguments of the jobs of a frame, parsed all at once when the first one is asked for: to begin costs the parser as
		# much as three short lists. P has seen to it that each is an array by its brackets and holds no comment, so that none
		# can reach into another.
		class Arguments
			# Longer texts are parsed when their job runs, and are not there twice while it waits.
			SHORT_BYTES = 256

			def initialize
				@texts = []
				@lists = nil
			end

			# @parameter text [String] The JSON of one job's arguments.
			def <<(text)
				@texts << text
			end

			# @returns [Array | Nil] Nil where there are none that JSON has; asking again gives nil, too.
			def take(index)
				text = @texts[index]
				return parse(text) if text.bytesize > SHORT_BYTES

				@lists ||= parse_short
				list = @lists[index]
				@lists[index] = nil
				list
			end

			private

			def parse_short
				short = @texts.map { |text| text.bytesize > SHORT_BYTES ? "0" : text }
				lists = parse("[#{short.join(",")}]")
				lists&.size == @texts.size ? lists : @texts.map { |text| parse(text) if text.bytesize <= SHORT_BYTES }
			end

			def parse(text)
				list = ::Sidekiq.load_json(text)
				list if Array === list
			rescue StandardError
				nil
			end
		end

		# A queue as one capsule reads it.
		Route = Struct.new(:capsule, :queue)
	end
end
