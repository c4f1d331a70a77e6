# frozen_string_literal: true

require "minitest/autorun"
require "socket"
require "support/with_root"

# What one worker of all does alone, and the others when it is gone.
class LeaderTest < Minitest::Test
	include WithRoot

	APP = File.expand_path("../../../support/leading_app.rb", __dir__)

	SCHEDULER = File.expand_path("../../../support/scheduler_app.rb", __dir__)

	THREAD_PORT = File.expand_path("../../../support/thread_port_app.rb", __dir__)

	# What has to be there once.
	ONCE = ["scheduler started", "alive started", "rufus started", "port opened", "thread opened", "socket opened"].freeze

	# Start two workers.
	def lead(greet: [], **options, &each)
		ports = Array.new(2) { TCPServer.new("127.0.0.1", 0) }
		numbers = ports.map { |port| port.addr[1].to_s }
		ports.each(&:close)
		env = {"TEST_PORT" => numbers[0], "TEST_OTHER_PORT" => numbers[1], **options.delete(:env).to_h}
		root = start(app: APP, workers: 2, env: env, **options)
		[root, Array.new(2) { root.greet(*greet) }.each(&each)]
	end

	def pids(root, what)
		root.notes.filter_map { |line| line[/\A#{what} pid=(\d+)/, 1]&.to_i }
	end

	def test_schedulers_and_ports_are_there_once_and_own_handlers_everywhere
		root, peers = lead
		root.note(/\Athread opened/)
		assert_equal peers.map { |peer| peer.hello["pid"] }.sort, pids(root, "own started").sort
		assert_equal 2, pids(root, "any port").size
		leader = pids(root, "scheduler started").fetch(0)
		ONCE.each { |what| assert_equal [leader], pids(root, what), what }
		assert_match(/lifecycle handlers of sidekiq-scheduler, sidekiq_alive run in one worker/, root.log)
		assert_match(/startup handler \(\S+leading_app.rb:\d+\) opens a port: it runs in one worker/, root.log)
		assert_match(/leading_initializer.rb:\d+\) starts a scheduler/, root.log)

		Process.kill(:KILL, leader)
		Wait.for("the other") { pids(root, "thread opened").size == 2 }
		ONCE.each { |what| assert_equal 2, pids(root, what).uniq.size, what }
	end

	def drain_leader(root, peers)
		leader = pids(root, "scheduler started").fetch(0)
		first, second = peers.partition { |peer| peer.hello["pid"] == leader }.map(&:first)
		first.jobs(1 => ["SleepJob", "long", 1])
		root.note("long started")
		first.send(:DRAIN, [20.0].pack("G"))
		Wait.for("the next") { pids(root, "scheduler started").size == 2 }
		assert_includes [second.hello["pid"], *root.workers], pids(root, "scheduler started").last
		leader
	end

	def test_schedulers_go_on_once_the_first_has_ended_them_and_not_before
		root = start(app: SCHEDULER, workers: 2)
		leader = drain_leader(root, Array.new(2) { root.greet })
		lines = root.notes
		refute_includes lines, "long over"
		assert_operator lines.index("scheduler gone pid=#{leader}"), :<, lines.rindex { |line| line.start_with?("scheduler started") }
	end

	def test_ports_are_opened_when_the_first_is_gone
		root, peers = lead
		leader = drain_leader(root, peers)
		lines = root.notes
		ends = ["scheduler ended", "scheduler gone", "rufus ended"].map { |what| lines.index("#{what} pid=#{leader}") }
		starts = ONCE.first(3).map { |what| lines.rindex { |line| line.start_with?(what) } }
		assert_operator [*ends, lines.index("long over")].max, :<, starts.min
		Wait.for("the port") { pids(root, "port opened").size == 2 }
		# What its own `startup` has not begun, it need not end.
		assert_equal [leader], pids(root, "rufus ended")
	end

	def test_so_are_ports_of_threads
		port = TCPServer.new("127.0.0.1", 0)
		number = port.addr[1].to_s
		port.close
		root = start(app: THREAD_PORT, workers: 2, env: {"TEST_PORT" => number})
		peers = Array.new(2) { root.greet }
		leader = Integer(root.note(/\Athread opened/)[/\d+/])
		first, = peers.partition { |peer| peer.hello["pid"] == leader }.map(&:first)
		first.jobs(1 => ["SleepJob", "long", 1])
		root.note("long started")
		first.send(:DRAIN, [20.0].pack("G"))
		Wait.for("the next") { pids(root, "thread opened").size == 2 }
		assert_empty root.notes.grep(/EADDRINUSE/)
		assert_operator root.notes.index("long over"), :<, root.notes.rindex { |line| line.start_with?("thread opened") }
		assert_match(/startup handler \(\S+thread_port_app.rb:\d+\) opens a port: it runs in one worker/, root.log)
	end

	def test_garbage_collection_does_not_end_it
		root, peers = lead
		peers.each { |peer| peer.jobs(1 => ["GarbageJob", "swept"]) }
		peers.each { |peer| assert_equal :ok, peer.results(1).fetch(1).status }
		File.open("#{root.socket_path}.leader") { |file| refute file.flock(File::LOCK_EX | File::LOCK_NB) }
		assert_equal 1, pids(root, "scheduler started").size
		assert_match(/thread=sidekiq\.processor/, root.note(/\Aswept/))
	end

	def test_every_means_every_one
		root = start(app: SCHEDULER, workers: 2, env: {"GOKIQ_EVENTS" => "every"})
		Array.new(2) { root.greet }
		assert_equal root.workers.sort, pids(root, "scheduler started").sort
	end

	def test_queues_that_startup_adds_run_in_every_worker
		root, peers = lead

		peers.each do |peer|
			queues = peer.hello["sidekiq"]["capsules"].to_h { |capsule| [capsule["name"], [capsule["concurrency"], capsule["queues"]]] }
			assert_equal({"default" => [5, [["default", 0]]], "sidekiq-alive" => [2, [["sidekiq-alive-here", 0]]], "late" => [5, [["late", 0]]]}, queues)
		end

	end

	def test_their_jobs_run_in_any_of_them
		root, _peers = lead(greet: [%w[sidekiq-alive sidekiq-alive-here], %w[late late]]) do |peer|
			peer.jobs(1 => ["SidekiqAlive::Worker"])
			peer.jobs_by(1, 2 => ["PoolJob"])
			assert_equal %i[ok ok], peer.results(1, 2).values.map(&:status)
		end

		assert_equal 2, root.notes.count("alive in sidekiq-alive-here")
		assert_equal 2, root.notes.count("pool of 50")
	end
end
