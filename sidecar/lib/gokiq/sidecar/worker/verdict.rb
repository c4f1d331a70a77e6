# frozen_string_literal: true

module Gokiq
	# Raised in a job that runs longer than it may. Like `Sidekiq::Shutdown` it is no StandardError, so that a plain `rescue`
	# in the job does not swallow it; unlike that it fails the job, by Sidekiq's rules for failures. No signal either: a
	# reactor puts those off until it turns again, and it may be just this job that keeps it from turning.
	class JobTimeout < Exception
	end

	# Stands for what a job did that ended its worker again and again.
	class WorkerCrash < StandardError
	end

	module Sidecar
		# What the orchestrator has decided about a job that it sends back: it fails with this error, without running.
		Verdict = Struct.new(:error, :final) do
			# @parameter kind [Integer] As in FAIL: 0 timeout, 1 crash, after which no retry follows.
			# @parameter message [String] Of the error.
			# @returns [Verdict | Nil] Nil for an unknown kind.
			def self.of(kind, message)
				case kind
				when 0 then new(JobTimeout.new(message), false)
				when 1 then new(WorkerCrash.new(message), true)
				end
			end
		end
	end
end
