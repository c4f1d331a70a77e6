# frozen_string_literal: true

module Gokiq
	module Sidecar
		# A process that a job forks is no worker. What belongs to the worker is closed in it at once: as long as it had the
		# connection or the pipe to the root, nobody would learn of the worker's death; with the listening socket it would
		# keep a new root from binding; with the reactor it would go on with the other jobs.
		#
		# Children that are spawned get none of it: Ruby closes all of it when a program is executed.
		module ForkGuard
			# Called by Ruby for every fork but those of C code.
			module Hook
				# @returns [Integer] 0 in the child.
				def _fork
					pid = super
					ForkGuard.leave if pid.zero?
					pid
				end
			end

			# Signals that the worker has handlers for.
			SIGNALS = %i[INT TERM TSTP TTIN HUP].freeze

			@own = []
			@handlers = []

			class << self
				# From here on this process is a worker.
				def install
					Process.singleton_class.prepend(Hook) unless Process.singleton_class.include?(Hook)
				end

				# Close it in children.
				# @parameter io [IO]
				# @returns [IO] The same.
				def own(io)
					@own.reject!(&:closed?)
					@own << io
					io
				end

				# Call it in children.
				def on_fork(&block)
					@handlers << block
				end

				# We are the child.
				def leave
					leave_reactor
					# The parent has them open, too: locks and connections stay as they are.
					@own.each(&:close)
					@own.clear
					# Not Ruby's own default: it raises what the reactor has masked for good.
					SIGNALS.each { |name| Signal.trap(name, "SYSTEM_DEFAULT") }
					@handlers.each(&:call)
				end

				private

				# It would run the fibers of the other jobs, and read what is the parent's.
				def leave_reactor
					Fiber.current.async_task = nil if Fiber.current.respond_to?(:async_task=)
					scheduler = Fiber.scheduler or return

					scheduler.define_singleton_method(:scheduler_close) { |*| }
					Fiber.set_scheduler(nil)
				end
			end
		end
	end
end
