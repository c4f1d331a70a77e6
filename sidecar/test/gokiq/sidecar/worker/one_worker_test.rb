# frozen_string_literal: true

require "minitest/autorun"
require "async"
require "gokiq/sidecar/worker/one_worker"
require "support/wait"

# A `startup` handler where another worker leads, and later.
class OneWorkerTest < Minitest::Test
	OneWorker = Gokiq::Sidecar::OneWorker

	def setup
		@told = []
		@turn = OneWorker::Turn.new(patience_s: 0.05) { |what, handler| @told << [what, handler] }
		@began = Thread::Queue.new
	end

	# Does in a thread what is for one worker, and says when it is done.
	def begin_in_thread(ready = Thread::Queue.new)
		thread = Thread.new do
			OneWorker.ask("opens a port")
			@began << true
			ready << true
		end
		[thread, ready]
	end

	def test_a_handler_that_waits_for_what_waits_ends_and_begins_once_more
		thread = nil
		handler = lambda do
			thread, ready = begin_in_thread
			ready.pop
		end
		Sync do
			refute @turn.call(handler)
			Wait.for("the end of its thread") { !thread.alive? }
			@turn.lead
			assert @turn.call(handler)
		end
		assert_equal 1, @began.size
	end

	def test_what_a_handler_has_started_does_not_go_on_when_it_begins_once_more
		thread = nil
		Sync do
			handler = lambda do
				thread, = begin_in_thread
				OneWorker.ask("opens another port")
			end
			refute @turn.call(handler)
			Wait.for("the end of its thread") { !thread.alive? }
		end
		assert_empty @began
		assert_empty @told
	end

	def test_what_waits_goes_on_after_its_handler_when_the_worker_leads
		Sync do
			thread = nil
			handler = -> { thread, = begin_in_thread }
			assert @turn.call(handler)
			sleep(0.1)
			assert thread.alive?
			assert_empty @began
			@turn.lead
			thread.join
			assert_equal [["opens a port", handler]], @told
		end
		assert_equal 1, @began.size
	end

	def test_the_leader_is_told
		@turn.lead
		handler = -> { OneWorker.ask("opens a port") }
		assert @turn.call(handler)
		assert_equal [["opens a port", handler]], @told
	end

	def test_any_port_may_be_opened_by_every_worker
		server = Class.new(TCPServer) { prepend OneWorker::Port }
		Sync { assert @turn.call(-> { [0, "0", nil, ""].each { |port| server.new("127.0.0.1", port).close } }) }
	end

	def test_a_handler_that_rescues_everything_waits_for_its_turn_too
		handler = lambda do
			OneWorker.ask("opens a port")
		rescue Exception
			nil
		end
		Sync { refute @turn.call(handler) }
	end
end
