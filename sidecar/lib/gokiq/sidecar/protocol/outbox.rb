# frozen_string_literal: true

require "async"

require_relative "../root/fork_guard"
require_relative "frame"

module Gokiq
	module Sidecar
		# What is to be written to the orchestrator. Anyone in the reactor adds; one fiber writes, everything there is in one
		# go. Reading never waits for writing, so two full sockets cannot block one another.
		class Outbox
			# About where RESULTS are cut, in bytes.
			CUT_BYTES = 1_048_576

			# Of DONE: number, elapsed_us.
			DONE_ENTRY = "Q>N"

			# The most microseconds that an entry of DONE can say: over an hour.
			ELAPSED_MAX_US = 0xFFFF_FFFF

			# @parameter socket [IO]
			def initialize(socket)
				@socket = socket
				@frames = "".b
				@entries = "".b
				@done = []
				@writer = nil
				@waiting = false
				@closing = false
				@broken = false
				ForkGuard.on_fork { leave }
			end

			# Start the writing fiber in the current task.
			def start(parent: Async::Task.current)
				@scheduler = Fiber.scheduler
				@task = parent.async(transient: true, annotation: "gokiq outbox") { write }
			end

			# Add an outcome.
			# @parameter entry [String] Of RESULTS.
			def add(entry)
				seal if @entries.bytesize + entry.bytesize > CUT_BYTES
				@entries << entry
				wake if @waiting
			end

			# Add the outcome of a job that ended well.
			# @parameter number [Integer]
			# @parameter elapsed_us [Integer]
			def done(number, elapsed_us)
				@done.push(number, [elapsed_us, ELAPSED_MAX_US].min)
				wake if @waiting
			end

			# Add a frame, behind all outcomes so far.
			# @parameter type [Integer]
			# @parameter body [String]
			def push(type, body = "")
				seal
				@frames << Frame.pack(type, body)
				wake if @waiting
			end

			# Write the rest and stop.
			def finish
				@closing = true
				wake if @waiting
				@task&.wait
			end

			private

			# A job has forked and its copy comes to its end: it reports nothing, and takes no other job.
			def leave
				%i[add done push].each { |name| define_singleton_method(name) { |*| exit!(0) } }
			end

			def wake
				@waiting = false
				@scheduler.push(@writer)
			end

			def seal
				unless @done.empty?
					@frames << Frame.pack(Frame::DONE, @done.pack(DONE_ENTRY * (@done.size / 2)))
					@done.clear
				end

				return if @entries.empty?

				@frames << Frame.pack(Frame::RESULTS, @entries)
				@entries = "".b
			end

			def write
				@writer = Fiber.current

				while true
					seal

					if @frames.empty?
						return if @closing

						@waiting = true
						@scheduler.transfer
						@waiting = false
					else
						bytes = @frames
						@frames = "".b
						flush(bytes)
					end
				end
			end

			# The reader learns of a lost peer by itself and decides.
			def flush(bytes)
				@socket.write(bytes) unless @broken
			rescue SystemCallError, IOError
				@broken = true
			end
		end
	end
end
