# frozen_string_literal: true

require "sidekiq/processor"

module Gokiq
	module Sidecar
		# Answers what Sidekiq's `WORK_STATE` is asked from the jobs that run here, so that nothing is written to it for each.
		module WorkState
			# Have it answer from a workload.
			def self.of(workload)
				state = ::Sidekiq::Processor::WORK_STATE
				state.extend(self)
				state.instance_variable_set(:@gokiq_workload, workload)
			end

			# @returns [Hash] `tid` => queue, payload and start, of every running job.
			def dup
				super.merge!(running)
			end

			# @returns [Integer] Running jobs.
			def size
				# One that is written to it by Sidekiq's own `stats` is the same job.
				dup.size
			end

			private

			def running
				jobs = {}

				@gokiq_workload.each_started do |job, tid, started|
					jobs[tid] = {queue: job.route.queue, payload: job.payload, run_at: started}
				end

				jobs
			end
		end
	end
end
