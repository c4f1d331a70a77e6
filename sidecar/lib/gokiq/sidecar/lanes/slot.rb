# frozen_string_literal: true

require_relative "../sidekiq/job_processor"
require_relative "../protocol/outcome"

module Gokiq
	module Sidecar
		# A place where one job at a time runs: the state that a fiber or a thread keeps between jobs.
		class Slot
			# @parameter lane [Symbol] `:fiber` or `:thread`.
			# @parameter state [State] Of the worker.
			def initialize(lane, state)
				@lane = lane
				@state = state
				@deadlines = state.deadlines
				@processor = @others = nil
				@capsule = nil
				@job = nil
			end

			# @attribute [Job | Nil] What runs here now.
			attr :job

			# @attribute [String] What Sidekiq keys its work state by.
			attr :tid

			# Tie the slot to the current fiber, under a `tid` of its own.
			def enter
				current = Thread.current
				current["sidekiq_tid"] = @tid = (Fiber.current.object_id ^ Process.pid).to_s(36)
				current[:gokiq_slot] = self
			end

			# Choose the processor for a job.
			# @parameter job [Job]
			def accept(job)
				@job = job
				@cut = false
				job.slot = self
				capsule = job.route.capsule
				change(capsule) unless capsule.equal?(@capsule)
			end

			# Get the processor ready for the job it was chosen for, and parse the payload.
			# @returns [Object | Nil] The parsed payload, nil if there is none.
			def prepare
				@processor.reset(@state.quiet?)
				@job.parsed ||= @processor.parse(@job.payload)
			end

			# Run a prepared job.
			# @parameter job_hash [Object | Nil] What {prepare} returned.
			# @returns [String] Its entry for RESULTS.
			def perform(job_hash)
				job = @job
				processor = @processor

				return report(job, processor, 0) if processor.malformed?

				job.start
				@deadlines.start(job, job_hash) unless job.verdict
				status = processor.call(job_hash, job.payload, job.route.queue, job.verdict)
				elapsed = job.finish - job.started

				return Outcome.plain(job.number, status, processor.counts, elapsed) if status == Outcome::OK

				report(job, processor, elapsed)
			end

			# The job is over.
			def release
				@deadlines.finish(@job) if @job && @deadlines.any?
				@job = nil
			end

			# @returns [Boolean] Whether the last job has raised: Sidekiq gives up the thread then, and with it all that the
			#   job left in its locals.
			def spent?
				@processor.status != Outcome::OK
			end

			# Something is about to be raised in the running job.
			def cut
				@cut = true
			end

			# Let the running job know that it is to stop at its next chance.
			def interrupt
				@processor&.stop_soon
			end

			# As {interrupt}, because the worker takes no more jobs: Sidekiq tells its processors so, and agents listen.
			def quiet
				@processor&.terminate
			end

			private

			# Most slots know one capsule all their life.
			def change(capsule)
				if @processor
					@others ||= {}.compare_by_identity
					@others[@capsule] = @processor
				end

				@processor = @others&.fetch(capsule, nil) || processor_for(capsule)
				@capsule = capsule
				Thread.current[:sidekiq_capsule] = capsule
			end

			def processor_for(capsule)
				JobProcessor.new(capsule, @lane)
			end

			def report(job, processor, elapsed)
				status = processor.status
				# Nobody has asked for this shutdown: the job itself has raised it, and would again, without end.
				status = Outcome::INTERNAL if status == Outcome::SHUTDOWN && !@cut
				Outcome.detailed(job.number, status, processor.counts, elapsed, processor.score, processor.record, processor.error)
			end
		end
	end
end
