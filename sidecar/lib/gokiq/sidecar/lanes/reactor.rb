# frozen_string_literal: true

require "timeout"

module Gokiq
	module Sidecar
		# What jobs may expect of a thread and Async's scheduler does otherwise. It extends the scheduler that jobs run in.
		module Reactor
			# Says in which thread somebody has called `exit`: Ruby raises it in the main thread, in whatever that runs just then.
			module Origin
				def initialize(...)
					super
					# Not the thread itself, which nobody could marshal.
					@gokiq_thread = Thread.current.object_id
				end

				# @returns [Boolean] Whether another thread than the current one is meant to have ended the process.
				def from_elsewhere?
					!@gokiq_thread.nil? && @gokiq_thread != Thread.current.object_id
				end
			end

			def self.extended(_scheduler)
				::SystemExit.prepend(Origin) unless ::SystemExit.include?(Origin)
			end

			# Raises in the reactor, outside of every task, when its turn comes.
			Bomb = Struct.new(:error) do
				def alive?
					true
				end

				def transfer
					Kernel.raise error
				end
			end

			# @parameter block [Proc] Called once, when the reactor ends and before any task hears of it.
			def on_end(&block)
				@on_end = block
			end

			# @parameter block [Proc] Called once, with what somebody has raised where no task runs: `exit` in a thread is.
			def on_failure(&block)
				@on_failure = block
			end

			# Such an error ends the reactor as an interrupt does: tasks may still run their `ensure` blocks.
			def run_once(...)
				super
			rescue SignalException
				Kernel.raise
			rescue Exception => error
				Kernel.raise unless (block = @on_failure)

				@on_failure = nil
				tell_end
				block.call(error)
				Kernel.raise Interrupt
			end

			# End the reactor, as if it had been raised where no task runs. The current fiber ends with it.
			# @parameter error [Exception]
			def detonate(error)
				push(Bomb.new(error))
				self.yield
			end

			# `Timeout.timeout` without a class of one's own is not for a `rescue => error` in its block to hear of. Later
			# versions of the timeout gem see to it themselves and name another class here. Source: timeout 0.4, `Timeout.timeout`.
			def timeout_after(duration, exception, message, &block)
				return super unless exception.equal?(::Timeout::Error) && exception.respond_to?(:handle_timeout)

				exception.handle_timeout(message) { |own| super(duration, own, message, &block) }
			end

			def terminate
				tell_end
				super
			end

			# Async 2.39 and later.
			def cancel(...)
				tell_end
				super
			end

			def stop(...)
				tell_end
				super
			end

			private

			def tell_end
				return unless (block = @on_end)

				@on_end = nil
				block.call
			end
		end
	end
end
