# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"
require "support/with_root"

# Jobs that end otherwise than by returning or raising.
class LanesTest < Minitest::Test
	include Inline

	def call(index)
		Peer.payload("InlineJobs::Call", index)
	end

	def test_a_job_that_ends_its_thread_is_reported_and_its_place_is_free_again
		InlineJobs::Call.body = ->(index) { Thread.exit if index == 1 }
		results = work(call(1), call(2), call(3), lane: :thread, slots: 1)

		assert_equal %i[internal ok ok], results.map(&:status)
		assert_match(/thread/, results.first.error_message)
	end

	def test_jobs_may_come_and_go_while_one_looks_at_those_that_run
		running = []
		InlineJobs::Call.body = ->(index) { (running << index) && sleep(0.05) }
		seen = []

		results = work(call(1), call(2)) do |workload|
			sleep(0.001) until running.size == 2
			workload.each_running do |job, _trace|
				workload.take(Gokiq::Sidecar::Job.new(3, route, call(3))) if seen.empty?
				seen << job.number
			end
		end

		assert_equal [1, 2], seen
		assert_equal %i[ok ok ok], results.map(&:status)
	end
end

# The end of the orchestrator when a job does not stop.
class LostTest < Minitest::Test
	include WithRoot

	def test_handlers_do_not_prolong_a_job_that_does_not_stop
		root = start(app: File.expand_path("../../support/stubborn_app.rb", __dir__))
		peer = root.greet
		peer.jobs(1 => ["TickingJob", "a"])
		root.note("a started")
		root.note("tick")
		peer.close

		assert_gone(peer)
	end

	def test_what_has_not_started_when_the_orchestrator_ends_does_not_start
		root = start(env: {"GOKIQ_THREADS" => "1"})
		peer = root.greet
		peer.jobs(1 => ["ThreadSleepJob", "a", 30], 2 => ["ThreadSleepJob", "b", 0])
		root.note("a started")
		peer.close
		assert_gone(peer)

		refute_includes root.notes, "b started"
	end

	def assert_gone(peer)
		Wait.for("the end of #{peer.hello["pid"]}", 6.0) { !Root.alive?(peer.hello["pid"]) }
	end
end
