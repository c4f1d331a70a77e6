# frozen_string_literal: true

require "async"

require_relative "../sidekiq/lean_processor"
require_relative "slot"
require_relative "thread_variables"

module Gokiq
	module Sidecar
		# A slot in a fiber.
		class FiberSlot < Slot
			# @parameter state [State] Of the worker.
			# @parameter scheduler [Async::Scheduler] Whose reactor the fiber lives in.
			# @parameter workload [Workload] Knows which classes are for threads.
			# @parameter models [Hash(Sidekiq::Capsule, LeanProcessor)] What each slot has a copy of: to make one reaches deep
			#   into the stack, and a page that a fiber has touched once it keeps.
			def initialize(state, scheduler, workload, models)
				super(:fiber, state)

				@scheduler = scheduler
				@workload = workload
				@models = models
				@retired = false
			end

			# Remember the fiber.
			def enter
				super
				ThreadVariables.own
				@fiber = Fiber.current
				@task = Async::Task.current
			end

			# @parameter job_hash [Object] What {prepare} returned.
			# @returns [Boolean] Whether {run_lean} may run it.
			def lean?(job_hash)
				@processor.lean? && LeanProcessor.fits?(job_hash)
			end

			# Run a plain job, parsing nothing but its arguments.
			# @parameter job [PlainJob] That was accepted.
			# @returns [Boolean | Nil] Whether it ended well, else {failure} says how; nil if it cannot be run like this.
			def run_plain(job)
				return unless (shape = @processor.shape(job.name, @workload)) && (arguments = job.args)

				job.start
				@deadlines.start(job, nil) if @deadlines.default?
				@processor.run_plain(job, shape, arguments, @task, @state.quiet?)
			end

			# Run a prepared job without the layers that do nothing for it.
			# @returns [Boolean] Whether it ended well; else {failure} says how.
			def run_lean(job)
				job.start
				@deadlines.start(job, job.parsed)
				@processor.run(job, @task, @state.quiet?)
			end

			# @returns [String] The entry for RESULTS of a job that did not end well.
			def failure(job)
				report(job, @processor, job.finish - job.started)
			end

			# Raise `Sidekiq::Shutdown` in a job. Only to be called from another fiber of the same reactor.
			# @parameter job [Job] Only if it still runs here.
			def shut_down(job)
				return unless @job.equal?(job)

				cut
				@scheduler.raise(@fiber, ::Sidekiq::Shutdown)
			end

			# Raise {JobTimeout} in a job. As {shut_down}.
			def time_out(job, message)
				return unless @job.equal?(job)

				cut
				@scheduler.raise(@fiber, JobTimeout.new(message))
			end

			# A wake-up that is already on its way to this fiber must not meet the next job.
			def cut
				super
				@retired = true
			end

			# @returns [Array(String) | Nil] Where the job stands.
			def trace
				@fiber&.backtrace
			end

			# Take no more jobs.
			def retire
				@retired = true
			end

			# @returns [Boolean] Whether the fiber is to end.
			def retired?
				@retired
			end

			private

			def processor_for(capsule)
				(@models[capsule] ||= LeanProcessor.new(capsule)).dup
			end
		end
	end
end
