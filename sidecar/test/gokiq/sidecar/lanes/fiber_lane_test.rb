# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# Many jobs at once, and how they are stopped.
class FiberLaneTest < Minitest::Test
	include Inline

	def call_payload(*arguments)
		Peer.payload("InlineJobs::Call", *arguments)
	end

	def test_as_many_at_once_as_there_are_slots
		running = most = 0
		InlineJobs::Call.body = lambda do |_|
			most = [most, running += 1].max
			sleep(0.01)
			running -= 1
		end
		results = work(*Array.new(50) { |index| call_payload(index) }, slots: 20)

		assert_equal [:ok], results.map(&:status).uniq
		assert_equal 20, most
	end

	def test_one_slot_keeps_the_order
		seen = []
		InlineJobs::Call.body = ->(index) { sleep(rand / 1_000) && seen << index }
		work(*Array.new(30) { |index| call_payload(index) }, slots: 1)

		assert_equal (0...30).to_a, seen
	end

	def test_jobs_that_wait_are_started_many_a_turn_and_those_that_do_not_wake_nobody
		turns = started = 0
		turns_until_all_run = nil
		InlineJobs::Call.body = lambda do |_|
			turns_until_all_run = turns if (started += 1) == 512
			sleep(0.05)
		end
		trace = TracePoint.new(:call) { |point| turns += 1 if point.method_id == :run_once! }
		# The fibers are made one a turn; then they are there.
		work(*Array.new(256) { |index| call_payload(index) }, slots: 256) do |workload|
			sleep(0.001) until workload.size.zero?
			trace.enable
			256.times { |index| workload.take(Gokiq::Sidecar::Job.new(1_000 + index, route, call_payload(index))) }
		end
		trace.disable

		assert_operator turns_until_all_run, :<, 30

		fibers = Hash.new(0)
		InlineJobs::Call.body = ->(_) { fibers[Fiber.current] += 1 }
		work(*Array.new(256) { |index| call_payload(index) }, slots: 256)
		assert_operator fibers.size, :<, 20
	end

	def test_jobs_have_ids_of_their_own
		seen = []
		InlineJobs::Call.body = ->(_) { sleep(0.01) && seen << Thread.current["sidekiq_tid"] }
		work(*Array.new(20) { |index| call_payload(index) }, slots: 20)

		assert_equal 20, seen.uniq.size
	end

	def test_a_failed_job_takes_its_locals_with_it
		InlineJobs::Call.body = lambda do |index|
			seen = Thread.current[:left_behind]
			Thread.current[:left_behind] = index
			raise "seen #{seen.inspect}"
		end
		results = work(*Array.new(3) { |index| call_payload(index) }, slots: 1)

		assert_equal ["seen nil"], results.map(&:error_message).uniq
	end

	def test_shut_down
		over = []
		InlineJobs::Call.body = lambda do |index|
			sleep(30)
		ensure
			over << index
		end
		began = Wait.now
		results = work(call_payload(0), call_payload(1)) do |workload|
			sleep(0.001) until running(workload) == 2
			workload.shut_down
		end

		assert_equal [[:shutdown, 3]] * 2, results.map { |result| [result.status, result.counts] }
		assert_equal [0, 1], over.sort
		assert_operator Wait.now - began, :<, 5
	end

	def test_shut_down_meets_only_its_job
		ready = false
		InlineJobs::Call.body = ->(name) { name == "long" ? (ready = true) && sleep(30) : sleep(0.05) }
		results = work(call_payload("long"), call_payload("short"), call_payload("next"), slots: 2) do |workload|
			sleep(0.001) until ready
			workload.interrupt(1, true)
			workload.interrupt(1, true)
		end

		assert_equal %i[shutdown ok ok], results.map(&:status)
	end

	def test_shut_down_of_a_job_that_waits_in_an_enumerator
		InlineJobs::Call.body = ->(_) { Enumerator.new { |yielder| sleep(30) && yielder << 1 }.next }
		results = work(call_payload(0)) do |workload|
			sleep(0.001) until running(workload) == 1
			workload.shut_down
		end

		assert_equal :shutdown, results[0].status
	end

	def test_shut_down_of_a_job_that_waits_for_its_tasks
		stopped = false
		InlineJobs::Call.body = lambda do |_|
			Async do
				sleep(30)
			ensure
				stopped = true
			end
		end
		results = work(call_payload(0)) do |workload|
			sleep(0.001) until running(workload) == 1
			workload.shut_down
		end

		assert_equal :shutdown, results[0].status
		assert stopped
	end

	def test_interrupt_turns_the_question_true
		InlineJobs::Call.body = ->(_) { sleep(0.001) until _context.stopping? }
		results = work(call_payload(0)) do |workload|
			sleep(0.001) until running(workload) == 1
			workload.interrupt(1, false)
		end

		assert_equal :ok, results[0].status
	end

	def test_a_job_that_starts_when_quiet_is_asked_at_once
		state = Gokiq::Sidecar::State.new.tap(&:quiet!)
		asked = nil
		InlineJobs::Call.body = ->(_) { asked = _context.stopping? }
		work(call_payload(0), state: state)

		assert_equal true, asked
	end

	def test_what_a_job_starts_is_waited_for
		done = false
		InlineJobs::Call.body = ->(_) { Async { sleep(0.02) && done = true } }

		assert_equal :ok, work(call_payload(0))[0].status
		assert done
	end

	def test_a_timeout_fails_the_job
		InlineJobs::Call.body = ->(_) { Timeout.timeout(0.01) { sleep(5) } }
		result = work(call_payload(0))[0]

		assert_equal [:retry, "Timeout::Error"], [result.status, result.error_class]
	end

	def test_a_number_that_is_out_is_refused
		InlineJobs::Call.body = ->(_) { sleep(0.02) }
		work(call_payload(0)) do |workload|
			assert_raises(Gokiq::Sidecar::ProtocolError) { workload.take(Gokiq::Sidecar::Job.new(1, route, call_payload(1))) }
		end
	end

	def test_threads_beside_fibers
		threads = []
		InlineJobs::Call.body = ->(_) { threads << Thread.current }
		results = work(Peer.payload("InlineJobs::Call", 0, gokiq_lane: "thread"), call_payload(1), Peer.payload("InlineJobs::Call", 2, gokiq_lane: "thread"))

		assert_equal [:ok], results.map(&:status).uniq
		assert_equal 1, threads.count(Thread.current)
	end

	def test_threads_are_replaced_after_errors
		InlineJobs::Call.body = ->(index) { raise "odd" if index.odd? }
		results = work(*Array.new(20) { |index| call_payload(index) }, lane: :thread, slots: 2)

		assert_equal [:ok, :retry] * 10, results.map(&:status)
	end

	private

	def running(workload)
		count = 0
		workload.each_running { count += 1 }
		count
	end
end
