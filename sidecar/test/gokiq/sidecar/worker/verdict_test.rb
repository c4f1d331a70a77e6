# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# What a verdict leaves behind in the slot where it was pronounced.
class VerdictTest < Minitest::Test
	include Inline

	# Lets no error through.
	class Swallow
		include Sidekiq::ServerMiddleware

		def call(_instance, job, _queue)
			yield
		rescue Gokiq::WorkerCrash
			job
		end
	end

	def test_a_verdict_that_middleware_swallows_says_nothing_of_the_next_job
		@config.server_middleware { |chain| chain.add(Swallow) }
		next_one = Peer.payload("InlineJobs::Raise", retry: 0, jid: "b" * 24)
		first, second = work(slots: 1) do |workload|
			verdict = Gokiq::Sidecar::Verdict.of(1, "it kills its workers")
			workload.take(Gokiq::Sidecar::Job.new(1, route, Peer.payload("InlineJobs::Plain", retry: 7), verdict))
			workload.take(Gokiq::Sidecar::Job.new(2, route, next_one))
		end

		assert_equal %i[ok dead], [first, second].map(&:status)
		assert_equal 0, second.job["retry"]
	end
end
