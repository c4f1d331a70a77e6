# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# Tasks that a job has started, when the job is made to end.
class ChildrenTest < Minitest::Test
	include Inline

	def cut(body)
		stopped = false
		InlineJobs::Call.body = lambda do |_|
			child = Async do
				sleep(60)
			ensure
				stopped = true
			end
			body.call(child)
		end

		began = Wait.now
		results = work(Peer.payload("InlineJobs::Call", 1)) do |workload|
			sleep(0.05)
			workload.each_running { |job, _trace| yield job }
		end

		assert stopped
		assert_operator Wait.now - began, :<, 30
		results.first
	end

	def time_out(job)
		job.slot.time_out(job, "late")
	end

	def shut_down(job)
		job.slot.shut_down(job)
	end

	def test_a_timeout_stops_the_tasks_that_the_job_waits_for
		assert_equal :retry, cut(:wait.to_proc) { |job| time_out(job) }.status
	end

	def test_a_timeout_stops_the_tasks_that_the_job_has_left
		assert_equal :retry, cut(:itself.to_proc) { |job| time_out(job) }.status
	end

	def test_a_shutdown_stops_the_tasks_that_the_job_has_left
		assert_equal :shutdown, cut(:itself.to_proc) { |job| shut_down(job) }.status
	end
end
