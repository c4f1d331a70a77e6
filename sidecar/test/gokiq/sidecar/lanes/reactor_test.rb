# frozen_string_literal: true

require "minitest/autorun"
require "timeout"
require "support/inline"
require "support/inline_jobs"
require "support/with_root"

# Where a fiber must not differ from a thread: timeouts, tasks that are left, the end of the fiber or of everything.
class ReactorTest < Minitest::Test
	include Inline
	include WithRoot

	APP = File.expand_path("../../../support/ending_app.rb", __dir__)

	class Own < StandardError
	end

	# What comes out of a block in a job of each lane.
	def in_both(&block)
		%i[fiber thread].to_h do |lane|
			said = nil
			InlineJobs::Call.body = lambda do
				said = begin
					block.call
				rescue Exception => error
					[error.class, error.message]
				end
			end
			run_job("InlineJobs::Call", lane: lane)
			[lane, said]
		end
	end

	def assert_both(expected, &block)
		assert_equal({fiber: expected, thread: expected}, in_both(&block))
	end

	def test_a_rescue_inside_does_not_swallow_a_timeout
		assert_both([Timeout::Error, "execution expired", 1]) do
			tries = 0
			begin
				Timeout.timeout(0.02) do
					tries += 1
					sleep(0.2)
				rescue StandardError
					retry
				end
			rescue Timeout::Error => error
				[error.class, error.message, tries]
			end
		end
	end

	def test_an_exit_can_be_marshalled_as_ever
		assert_both([SystemExit, 3]) do
			exit(3)
		rescue SystemExit => error
			error = Marshal.load(Marshal.dump(error))
			[error.class, error.status]
		end
	end

	def test_a_class_of_ones_own_is_raised_inside
		assert_both("inside own") do
			Timeout.timeout(0.02, Own, "own") do
				sleep(1)
			rescue Own => error
				"inside #{error.message}"
			end
		end
		assert_both([Own, "execution expired"]) { Timeout.timeout(0.02, Own) { sleep(1) } }
	end

	def test_the_outer_timeout_passes_the_inner_one
		assert_both([:outer, "outer"]) do
			Timeout.timeout(0.02, nil, "outer") do
				Timeout.timeout(5) { sleep(1) }
			rescue Timeout::Error
				:inner
			end
		rescue Timeout::Error => error
			[:outer, error.message]
		end
	end

	def test_the_inner_timeout_is_for_the_outer_block_to_rescue
		assert_both("inner") do
			Timeout.timeout(5) do
				Timeout.timeout(0.02, nil, "inner") { sleep(1) }
			rescue Timeout::Error => error
				error.message
			end
		end
	end

	def test_what_is_over_in_time_is_not_disturbed
		assert_both(:done) do
			Timeout.timeout(0.01) { :quick }
			sleep(0.03)
			:done
		end
	end

	def test_ensure_runs_once
		assert_both([1, Timeout::Error]) do
			ensured = 0
			begin
				Timeout.timeout(0.02) do
					sleep(1)
				ensure
					ensured += 1
				end
			rescue Timeout::Error => error
				[ensured, error.class]
			end
		end
	end

	def test_transient_tasks_end_with_their_job
		ended = []
		InlineJobs::Call.body = lambda do |number|
			Async(transient: true) do
				sleep
			ensure
				ended << number
			end
			# Another one, below a task that ends.
			Async { Async(transient: true) { sleep } }
			Async { Async { sleep(0.01) && ended << -number } }
		end
		tasks = nil
		results = work(*(1..20).map { |number| Peer.payload("InlineJobs::Call", number) }) do |workload|
			workload.wait(Wait::LIMIT_S)
			tasks = Async::Task.current.reactor.to_enum(:traverse).count { |node, _| Async::Task === node && node.annotation.nil? }
		end

		assert_equal [:ok], results.map(&:status).uniq
		assert_equal((-20..20).to_a - [0], ended.sort)
		# Our own, the test's.
		assert_equal 1, tasks
	end

	def test_a_job_whose_fiber_is_killed_is_over
		InlineJobs::Call.body = ->(number) { number == 2 ? Fiber.current.kill : sleep(0.01) }
		results = work(*(1..6).map { |number| Peer.payload("InlineJobs::Call", number) }, slots: 2)

		assert_equal [:ok, :internal, :ok, :ok, :ok, :ok], results.map(&:status)
		assert_equal ["Gokiq::Sidecar::FiberKilled", "the job's fiber was ended in the middle of it"], results[1].then { |it| [it.error_class, it.error_message] }
		assert_equal 3, results[1].counts
	end

	# When it was asked to end, too.
	def test_a_late_job_that_kills_its_fiber_is_over
		InlineJobs::Call.body = lambda do
			sleep
		ensure
			Fiber.current.kill
		end
		results = %i[shut_down time_out].flat_map do |way|
			job = plain_job(Peer.payload("InlineJobs::Call"))
			work(job) do |workload|
				sleep(0.001) until job.started
				way == :shut_down ? workload.shut_down : job.slot.time_out(job, "late")
				workload.wait(1)
				assert_equal 0, workload.size
			end
		end

		assert_equal [[:internal, "Gokiq::Sidecar::FiberKilled"]] * 2, results.map { |result| [result.status, result.error_class] }
	end

	def test_a_job_does_not_wait_for_a_task_that_was_killed
		ended = []
		InlineJobs::Call.body = lambda do
			Async { sleep(0.01) && Fiber.current.kill }
			Async { sleep(1.2) && ended << :late }
		end

		assert_equal [:ok, [:late]], [run_job("InlineJobs::Call").status, ended]
	end

	def test_a_job_whose_fiber_is_killed_in_retry_in_is_over
		InlineJobs::Undecided.sidekiq_retry_in_block.then do |block|
			InlineJobs::Undecided.sidekiq_retry_in { Fiber.current.kill }
			payload = Peer.payload("InlineJobs::Undecided")
			results = [payload, plain_job(payload)].flat_map { |job| work(job, slots: 1) }
			assert_equal [:internal], results.map(&:status).uniq
		ensure
			InlineJobs::Undecided.sidekiq_retry_in(&block)
		end
	end

	def test_a_late_job_does_not_tell_agents_that_the_process_ends
		told = []
		agent = Module.new { define_method(:terminate) { |*| told << :terminate and super() } }
		state = Gokiq::Sidecar::State.new
		asked = []
		InlineJobs::Call.body = lambda do
			sleep(0.005) until interrupted?
			asked << true
		end
		Gokiq::Sidecar::LeanProcessor.prepend(agent)

		results = work(Peer.payload("InlineJobs::Call"), state: state) do |workload|
			sleep(0.02)
			workload.each_running { |job, _| job.slot.interrupt }
		end
		assert_equal [[:ok], [true], []], [results.map(&:status), asked, told]

		work(Peer.payload("InlineJobs::Call"), state: state) do |workload|
			sleep(0.02)
			workload.interrupt_all
		end
		assert_equal [:terminate], told
	end

	def test_an_exit_of_the_jobs_own_is_its_failure
		[-> { exit(3) }, -> { Enumerator.new { exit(3) }.next }].each do |body|
			InlineJobs::Call.body = body
			assert_equal [:retry, "SystemExit"], run_job("InlineJobs::Call").then { |result| [result.status, result.error_class] }
		end
	end

	def test_neighbours_in_threads_hear_nothing
		root = start(app: APP, env: {"GOKIQ_LANE" => "thread"})
		peer = root.greet
		peer.jobs((1..5).to_h { |number| [number, Peer.payload("WaitingJob", number, retry: 0)] })
		root.note("waiting 5")
		peer.jobs(6 => ["ExitInThreadJob"])

		assert_equal 3, root.event("exited")["status"], root.log
		assert_empty root.notes.grep(/\A(handler|death|rescued)/)
	end

	# Each way of ending the worker while others sleep, wait in an ensure, compute.
	%w[ExitInThreadJob ExitInTaskJob ExitInBusyJob].each do |guilty|
		define_method(:"test_neighbours_hear_nothing_of_#{guilty}") do
			root = start(app: APP)
			peer = root.greet
			peer.jobs((1..10).to_h { |number| [number, Peer.payload("WaitingJob", number, retry: 0)] })
			root.note("waiting 10")
			peer.jobs(11 => [guilty])
			told = root.event("exited")

			assert_equal 3, told["status"], root.log
			assert_nil told["signal"]
			assert_empty root.notes.grep(/\A(handler|death|rescued)/)
			assert_equal (1..10).map { |number| "ensured #{number}" }.sort, root.notes.grep(/\Aensured/).sort
			assert_includes root.log, "gokiq: exit(3) was called in a thread, the worker ends"
		end
	end
end
