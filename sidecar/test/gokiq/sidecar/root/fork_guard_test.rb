# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# Jobs that fork: what their children must not keep of the worker.
class ForkGuardTest < Minitest::Test
	include WithRoot

	APP = File.expand_path("../../../support/forking_app.rb", __dir__)

	def start_one
		@root = start(app: APP, env: {"GOKIQ_EVENTS" => "one"})
		@peer = @root.greet
	end

	# @returns [Integer] Pid of the child of a job.
	def child(*job)
		@peer.jobs(1 => job)
		Integer(@root.note(/\Achild \d+\z/)[/\d+/])
	end

	def teardown
		@root&.notes&.grep(/\Achild \d/) { |line| end_child(Integer(line[/\d+/])) }
		super
	end

	def end_child(pid)
		Process.kill(:KILL, pid)
	rescue Errno::ESRCH
		nil
	end

	def test_the_death_of_a_worker_is_seen_at_once_while_a_child_lives
		start_one
		pid = child("ForkJob", 60)
		began = Wait.now
		Process.kill(:KILL, @peer.hello["pid"])

		assert_raises(Peer::Closed) { loop { @peer.frame } }
		assert_equal 9, @root.event("exited")["signal"]
		refute_equal @peer.hello["pid"], @root.greet.hello["pid"]
		# The leader's lock went with the worker.
		Wait.for("another leader") { @root.notes.grep(/\Aleader/).size == 2 }
		assert_operator Wait.now - began, :<, 3.0
		assert Root.alive?(pid)
	end

	def test_so_it_is_with_programs_that_a_job_has_started
		start_one
		pid = child("SpawnJob", 60)
		Process.kill(:KILL, @peer.hello["pid"])

		assert_raises(Peer::Closed) { loop { @peer.frame } }
		@root.greet
		assert Root.alive?(pid)
	end

	def test_nobody_listens_any_more_when_the_root_and_its_workers_are_gone
		start_one
		child("ForkJob", 60)
		[@root.pid, @peer.hello["pid"]].each { |pid| Process.kill(:KILL, pid) }

		Wait.for("the end of the socket") do
			UNIXSocket.new(@root.socket_path).close
			false
		rescue Errno::ECONNREFUSED
			true
		end
	end

	def test_a_child_runs_none_of_the_other_jobs_and_writes_no_line_twice
		start_one
		@peer.jobs(1 => ["ForkJob", 0.6], 2 => ["PlainJob", "a", 0.3], 3 => ["PlainJob", "b", 0.3])
		assert_equal %i[ok ok ok], @peer.results(1, 2, 3).values.map(&:status)
		@root.note("child is over")
		@root.note("parent is over")

		assert_equal %w[a b], @root.notes.grep(/\A[ab]\z/).sort
		lines = File.read("#{@root.socket_path}.log").lines
		assert_equal 3, lines.grep(/: start$/).size, lines.join
		assert_equal 3, lines.grep(/: done$/).size, lines.join
	end

	def test_a_child_that_leaves_the_job_reports_nothing
		start_one
		@peer.jobs(1 => ["LostForkJob"])
		assert_equal :ok, @peer.results(1).fetch(1).status
		pid = Integer(@root.note(/\Achild \d+\z/)[/\d+/])

		Wait.for("the child's end") { !Root.alive?(pid) }
		@peer.jobs(2 => ["PlainJob", "after", 0.0])
		assert_equal :ok, @peer.results(2).fetch(2).status
		assert_equal 1, @root.notes.count("after")
	end

	def test_a_signal_to_a_child_is_none_to_the_worker
		start_one
		pid = child("ForkJob", 60)
		Process.kill(:TERM, pid)

		assert_equal :ok, @peer.results(1).fetch(1).status
		@peer.jobs(2 => ["PlainJob", "after", 0.0])
		assert_equal :ok, @peer.results(2).fetch(2).status
	end

	def test_programs_start_in_ractors_and_by_methods_that_are_wrapped_later
		start_one
		@peer.jobs(1 => ["WrappedSpawnJob"])

		assert_equal :ok, @peer.results(1).fetch(1).status
		assert_equal ["ractor a true Integer b", "wrapped true c false"], @root.notes.grep_v(/\Aleader/)
	end

	def test_a_child_of_a_child_keeps_what_that_has_trapped
		start_one
		child("NestedForkJob")
		assert_equal :ok, @peer.results(1).fetch(1).status

		assert_includes @root.notes, "grandchild 7"
	end

	def test_a_job_that_becomes_a_daemon_leaves_the_worker
		start_one
		pid = child("DaemonJob")

		assert_raises(Peer::Closed) { loop { @peer.frame } }
		refute_equal @peer.hello["pid"], @root.greet.hello["pid"]
		assert Root.alive?(pid)
	end
end
