# frozen_string_literal: true

require "minitest/autorun"
require "gokiq/sidecar/worker/deadlines"
require "json"
require "support/inline"
require "support/inline_jobs"
require "support/with_root"

# Jobs that run longer than they may, and jobs that come back with a verdict.
class TimeoutTest < Minitest::Test
	include Inline
	include WithRoot

	APP = File.expand_path("../../support/timeout_app.rb", __dir__)

	{fiber: "SleepyJob", thread: "SleepyThreadJob"}.each do |lane, job|
		define_method(:"test_a_late_job_in_a_#{lane}_fails_and_its_neighbours_go_on") do
			root = start(app: APP)
			peer = root.greet
			peer.jobs(1 => Peer.payload(job, 30, gokiq_timeout: 0.5), 2 => ["SleepyJob", 4])
			began = Wait.now
			late = peer.results(1).fetch(1)

			assert_operator Wait.now - began, :>, 2.4
			assert_operator Wait.now - began, :<, 4.5
			assert_equal [:retry, 3], [late.status, late.counts]
			assert_equal ["Gokiq::JobTimeout", "the job ran longer than its timeout of 0.5 s"], late.job.values_at("error_class", "error_message")
			assert_equal :ok, peer.results(2).fetch(2).status
			assert_includes root.notes, "#{job} ensured"
			refute_includes root.notes, "#{job} rescued"
		end
	end

	def test_a_loop_that_holds_the_reactor_is_broken
		root = start(app: APP)
		peer = root.greet
		peer.jobs(1 => Peer.payload("LoopingJob", gokiq_timeout: 0.5))
		late = peer.results(1, seconds: 8.0).fetch(1)

		assert_equal [:retry, "Gokiq::JobTimeout"], [late.status, late.job["error_class"]]
		peer.jobs(2 => ["SleepyJob", 0])
		assert_equal :ok, peer.results(2).fetch(2).status
	end

	def test_what_cannot_be_broken_is_told
		root = start(app: APP)
		peer = root.greet
		peer.jobs(7 => Peer.payload("UnbreakableJob", 3, gokiq_timeout: 0.2))
		told = Wait.for("a beat with a deadline") do
			event = root.event("beat")
			event if event["deadline"]
		end

		assert_equal 7, told["deadline"][0]
		assert_in_delta Wait.now, told["deadline"][1], 5.0
	end

	def test_a_timeout_beyond_all_numbers_is_none
		deadlines = Gokiq::Sidecar::Deadlines.new
		job = Struct.new(:number).new(1)

		%w[1e400 1e308 -1e400].each { |text| deadlines.start(job, JSON.parse(%({"gokiq_timeout":#{text}}))) }
		deadlines.start(job, {"gokiq_timeout" => 10**400})

		assert_equal [1, Gokiq::Sidecar::Deadlines.now + 1e308], deadlines.first
		JSON.generate(deadlines.first) # as each beat does
	end

	def test_the_default_is_for_jobs_that_say_nothing
		root = start(app: APP, env: {"GOKIQ_JOB_TIMEOUT" => "0.3"})
		peer = root.greet
		peer.jobs(1 => ["SleepyJob", 30], 2 => Peer.payload("SleepyJob", 3.5, gokiq_timeout: 20))
		results = peer.results(1, 2)

		assert_equal %i[retry ok], results.values_at(1, 2).map(&:status)
	end

	def test_a_late_job_is_asked_to_stop_before_anything_is_raised_in_it
		root = start(app: APP)
		peer = root.greet
		peer.jobs(1 => Peer.payload("ListeningJob", gokiq_timeout: 0.5))

		assert_equal :ok, peer.results(1).fetch(1).status
		refute_includes root.notes, "late"
	end

	def test_a_verdict_of_timeout_books_a_retry_without_a_run
		result = condemned("InlineJobs::Plain", Gokiq::Sidecar::Verdict.of(0, "too long"))

		assert_equal [:retry, 3], [result.status, result.counts]
		assert_equal ["Gokiq::JobTimeout", "too long", 0, true], result.job.values_at("error_class", "error_message", "retry_count", "retry")
	end

	[true, false, 5].each do |retries|
		define_method(:"test_a_verdict_of_crash_is_the_last_word_with_retry_#{retries}") do
			result = condemned("InlineJobs::Plain", Gokiq::Sidecar::Verdict.of(1, "killed"), retry: retries, retry_for: 3600, x: 1.5)

			assert_equal :dead, result.status
			assert_equal ["Gokiq::WorkerCrash", "killed", 0, retries, 3600, 1.5], result.job.values_at("error_class", "error_message", "retry_count", "retry", "retry_for", "x")
			assert_equal 1, @deaths.size
			assert_equal ["Job raised exception"], contexts
		end
	end

	def test_a_verdict_of_crash_respects_dead_false
		result = condemned("InlineJobs::Plain", Gokiq::Sidecar::Verdict.of(1, "killed"), dead: false)

		assert_equal :discarded, result.status
		assert_equal 1, @deaths.size
	end

	private

	def condemned(name, verdict, **fields)
		payload = Peer.payload(name, **fields)

		work { |workload| workload.take(Gokiq::Sidecar::Job.new(1, route, payload, verdict)) }.fetch(0)
	end
end
