# frozen_string_literal: true

require "sidekiq/job_retry"

module Gokiq
	module Sidecar
		# Stands where Sidekiq's retry code expects a Redis connection, and remembers the one thing that it
		# decides there: which set the job goes to, with which score, as which bytes.
		class Recorder
			# @attribute [String | Nil] `"retry"`, `"dead"`, or nil when nothing was stored.
			attr :set

			# @attribute [Float] Seconds since the epoch.
			attr :score

			# @attribute [String] The job as it is to be stored.
			attr :payload

			# Forget the last job.
			def reset
				@set = @score = @payload = nil
			end

			# Sidekiq 7 and 8 both add one member, score first.
			def zadd(set, score, payload)
				@set = set
				@score = Float(score)
				@payload = payload
			end

			# Trimming is the orchestrator's work.
			def zremrangebyscore(*)
			end

			# Trimming is the orchestrator's work.
			def zremrangebyrank(*)
			end

			# @yields {|transaction| ...} Itself.
			def multi
				yield self
			end

			alias pipelined multi
		end

		# Sidekiq's own retry rules, writing into a recorder.
		class Retrier < ::Sidekiq::JobRetry
			# @parameter capsule [Sidekiq::Capsule]
			# @parameter recorder [Recorder]
			def initialize(capsule, recorder)
				super(capsule)

				@recorder = recorder
				@kept = nil
			end

			# @returns [Retrier] One that writes into another recorder.
			def into(recorder)
				dup.tap { |copy| copy.instance_variable_set(:@recorder, recorder) }
			end

			# Have the next failure be the job's last, whatever it says about retries.
			# @parameter job_hash [Hash] The job.
			# @returns [String] What to give to {global} and {local} as its payload.
			def condemn(job_hash)
				@kept = job_hash.slice("retry", "retry_for")
				::Sidekiq.dump_json(job_hash.except("retry_for").merge("retry" => 0))
			end

			# The next job is another one.
			def acquit
				@kept = nil
			end

			private

			# What is stored says about retries what the job said.
			def retries_exhausted(instance, message, error)
				if @kept
					message.delete("retry")
					message.merge!(@kept)
				end

				super
			end

			def redis
				yield @recorder
			end
		end
	end
end
