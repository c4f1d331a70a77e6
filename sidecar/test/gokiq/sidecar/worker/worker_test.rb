# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# How workers end, and who takes their place.
class WorkerTest < Minitest::Test
	include WithRoot

	def drain(peer, grace_s)
		peer.send(:DRAIN, [grace_s].pack("G"))
		assert_equal "", peer.expect(:DRAIN)
	end

	def assert_gone(pid)
		Wait.for("the end of #{pid}") { !Root.alive?(pid) }
	end

	def test_drain_lets_a_job_finish
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 0.4])
		root.note("a started")
		drain(peer, 10.0)
		peer.jobs(2 => ["NoteJob", "late"])
		results = peer.results(1, 2)

		assert_equal [[:ok, 1], [:refused, 0]], results.values_at(1, 2).map { |result| [result.status, result.counts] }
		assert_equal "", peer.expect(:GOODBYE)
		assert_raises(Peer::Closed) { peer.frame }
		assert_gone(peer.hello["pid"])
		assert_equal "drained", root.event("exiting")["reason"]
		refute(root.notes.any? { |line| line.start_with?("late") })
	end

	def test_drain_gives_back_what_has_not_started
		root = start(env: {"GOKIQ_SLOTS" => "1"})
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 0.2], 2 => ["NoteJob", "b"], 3 => ["NoteJob", "c"])
		root.note("a started")
		drain(peer, 10.0)

		assert_equal %i[ok refused refused], peer.results(1, 2, 3).values_at(1, 2, 3).map(&:status)
		peer.expect(:GOODBYE)
	end

	def test_drain_with_too_short_a_grace
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30], 2 => ["ThreadSleepJob", "b", 30], 3 => ["PatientJob", "c"])
		%w[a b c].each { |name| root.note("#{name} started") }
		began = Wait.now
		drain(peer, 0.3)
		results = peer.results(1, 2, 3)

		assert_operator Wait.now - began, :>=, 0.29
		assert_operator Wait.now - began, :<, 3.0
		assert_equal %i[shutdown shutdown ok], results.values_at(1, 2, 3).map(&:status)
		peer.expect(:GOODBYE)
		assert_includes root.notes, "a over"
		assert_includes root.notes, "b over"
	end

	def test_drain_abandons_what_does_not_end
		root = start
		peer = root.greet
		peer.jobs(1 => ["StubbornJob", "a"])
		root.note("a started")
		drain(peer, 0.0)
		result = peer.results(1).fetch(1)

		assert_equal [:shutdown, 3], [result.status, result.counts]
		peer.expect(:GOODBYE)
		assert_gone(peer.hello["pid"])
	end

	def test_end_of_the_orchestrator_while_draining
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30])
		root.note("a started")
		drain(peer, 30.0)
		peer.close

		root.note("a over", 5.0)
		assert_gone(peer.hello["pid"])
		refute_includes root.notes, "a finished"
	end

	def test_end_of_the_orchestrator
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30], 2 => ["ThreadSleepJob", "b", 30])
		root.note("a started")
		root.note("b started")
		peer.close

		root.note("a over")
		root.note("b over")
		assert_gone(peer.hello["pid"])
		refute_includes root.notes, "a finished"
		assert_match(/orchestrator/, root.event("exiting")["reason"])

		replacement = root.connect
		refute_equal peer.hello["pid"], replacement.await_hello["pid"]
		replacement.greet
		replacement.jobs(1 => ["NoteJob", "c"])
		assert_equal :ok, replacement.results(1).fetch(1).status
	end

	def test_events_of_one_worker_pass_to_another_when_it_is_gone
		root = start(workers: 2, env: {"GOKIQ_EVENTS" => "one"})
		peers = Array.new(2) { root.greet }
		Wait.for("startup") { root.notes.include?("event startup second") }
		peers.each { |peer| peer.send(:BEAT) }
		Wait.for("a beat") { root.notes.include?("event beat second") }
		peers.each { |peer| peer.jobs(1 => ["NoteJob", "x"]) }
		peers.each { |peer| peer.results(1) }
		assert_equal %w[startup heartbeat beat], root.notes.filter_map { |line| line[/\Aevent (\w+) second/, 1] }

		leader = root.note(/\Aleader pid=/)[/\d+/].to_i
		Process.kill(:KILL, leader)
		Wait.for("another startup") { root.notes.count("event startup second") == 2 }
		pids = root.notes.filter_map { |line| line[/\Aleader pid=(\d+)/, 1] }
		Wait.for("the end of the first") { pids - root.workers.map(&:to_s) == [leader.to_s] }
	end

	def test_one_more_worker_comes_when_asked_for_and_nobody_replaces_it
		root = start
		peer = root.greet
		assert_equal false, peer.hello["solo"]
		# The first worker may be there before its root takes signals.
		asked = 0.0

		Wait.for("one more worker") do
			Process.kill(:URG, root.pid) && asked = Wait.now if Wait.now - asked > 2.0
			root.workers.size == 2
		end

		solo = root.greet
		assert_equal true, solo.hello["solo"]
		solo.jobs(1 => ["NoteJob", "alone"])
		assert_equal :ok, solo.results(1).fetch(1).status

		Process.kill(:KILL, solo.hello["pid"])
		ended = root.event("exited")
		assert_equal [solo.hello["pid"], 9, nil], ended.values_at("pid", "signal", "status")
		Wait.for("its end") { root.workers == [peer.hello["pid"]] }
	end

	def test_two_connections_meet_two_workers
		root = start(workers: 2)
		peers = Array.new(2) { root.greet }

		assert_equal root.workers.sort, peers.map { |peer| peer.hello["pid"] }.sort
		peers.each_with_index { |peer, index| peer.jobs(index => ["NoteJob", "n#{index}"]) }
		peers.each_with_index { |peer, index| assert_equal :ok, peer.results(index).fetch(index).status }
		peers.each_with_index { |peer, index| assert_includes root.note(/\An#{index} /), "pid=#{peer.hello["pid"]} " }
	end

	def test_standby_meets_the_replacement
		root = start
		peer = root.greet
		standby = root.connect
		peer.jobs(1 => ["NoteJob", "a"])
		peer.results(1)
		assert_predicate standby, :silent?

		Process.kill(:KILL, peer.hello["pid"])
		assert_raises(Peer::Closed) { peer.frame }
		hello = standby.await_hello

		assert_equal root.pid, hello["ppid"]
		refute_equal peer.hello["pid"], hello["pid"]
		standby.greet
		standby.jobs(2 => ["NoteJob", "b"])
		assert_equal :ok, standby.results(2).fetch(2).status
	end

	def test_a_caller_that_does_not_answer_costs_nothing
		root = start
		caller = root.connect
		pid = caller.await_hello["pid"]
		caller.close
		refused = root.connect
		assert_equal pid, refused.await_hello["pid"]
		refused.send(:ERROR, JSON.generate(reason: "no common protocol version"))
		refused.await_close

		peer = root.greet
		assert_equal pid, peer.hello["pid"]
		peer.jobs(1 => ["NoteJob", "a"])
		assert_equal :ok, peer.results(1).fetch(1).status
	end

	def test_grace_counts_while_a_handler_waits
		root = start(app: File.expand_path("../../../support/slow_events_app.rb", __dir__))
		peer = root.greet
		peer.jobs(1 => ["PatientJob", "a"], 2 => ["SleepJob", "b", 30])
		root.note("a started")
		root.note("b started")
		began = Wait.now
		drain(peer, 0.2)

		assert_equal %i[ok shutdown], peer.results(1, 2).values_at(1, 2).map(&:status)
		peer.expect(:GOODBYE)
		assert_operator Wait.now - began, :<, 0.9
		refute_includes root.notes, "quiet over"
		assert_gone(peer.hello["pid"])
		assert_includes root.notes, "quiet over"
	end

	def test_exit_without_ensure_in_a_job
		root = start(app: File.expand_path("../../../support/exiting_app.rb", __dir__))
		peer = root.greet
		peer.jobs(1 => ["ExitJob"])

		assert_raises(Peer::Closed) { peer.frame }
		refute_equal peer.hello["pid"], root.connect.await_hello["pid"]
	end

	def test_events_in_order
		root = start
		peer = root.greet
		peer.jobs(1 => ["NoteJob", "a"])
		peer.results(1)
		drain(peer, 5.0)
		peer.await_close
		assert_gone(peer.hello["pid"])
		events = root.notes.grep(/\Aevent (?!exit|beat|heartbeat)/).first(6)

		assert_equal ["startup first", "startup second", "quiet second", "quiet first", "shutdown second", "shutdown first"], events.map { |line| line.delete_prefix("event ") }
		exits = root.notes.grep(/\Aevent exit/)
		assert_equal ["event exit second", "event exit first"], exits if Gem::Version.new(peer.hello["versions"]["sidekiq"]) >= Gem::Version.new("8.0")
		assert_operator root.notes.index("event startup second"), :<, root.notes.index { |line| line.start_with?("a ") }
	end

	def test_at_exit_blocks_of_the_app_run
		root = start(app: File.expand_path("../../../support/at_exit_app.rb", __dir__))
		peer = root.greet
		drain(peer, 5.0)
		peer.await_close

		assert_equal "at_exit of #{peer.hello["pid"]}", root.note(/at_exit/)
		assert_gone(peer.hello["pid"])
		refute_match(/Interrupt|SystemExit|rror/, root.log)
	end

	def test_term_of_a_worker_asks_for_no_more
		root = start
		peer = root.greet
		peer.jobs(1 => ["PatientJob", "a"], 2 => ["SleepJob", "b", 0.3])
		root.note("a started")
		root.note("b started")
		Process.kill(:TERM, peer.hello["pid"])

		assert_equal "", peer.expect(:DRAIN)
		assert_equal %i[ok ok], peer.results(1, 2).values.map(&:status)
		peer.expect(:GOODBYE)
	end

	def test_what_is_left_to_do_after_a_signal_does_not_need_the_orchestrator
		root = start(app: File.expand_path("../../../support/slow_events_app.rb", __dir__))
		peer = root.greet
		Process.kill(:TERM, peer.hello["pid"])
		peer.expect(:DRAIN)
		peer.expect(:GOODBYE)
		peer.close

		assert_gone(peer.hello["pid"])
		assert_includes root.notes, "quiet over"
		assert_includes root.notes, "event exit first"
	end

	def test_a_beat_that_is_under_way_ends_before_the_worker
		root = start(app: File.expand_path("../../../support/slow_events_app.rb", __dir__))
		peer = root.greet
		peer.send(:BEAT)
		root.note("event beat first")
		peer.send(:DRAIN, [10.0].pack("G"))
		peer.await_close
		peer.close

		assert_gone(peer.hello["pid"])
		assert_equal ["beat over", "event exit second"], root.notes & ["beat over", "event exit second"]
	end

	def test_term_of_the_root_ends_all
		root = start(workers: 2)
		peers = Array.new(2) { root.greet }
		peers.each { |peer| peer.jobs(1 => ["SleepJob", "s", 0.3]) }
		Wait.for("both jobs") { root.notes.count("s started") == 2 }
		workers = root.workers
		Process.kill(:TERM, root.pid)

		peers.each do |peer|
			peer.expect(:DRAIN)
			assert_equal :ok, peer.results(1).fetch(1).status
			peer.expect(:GOODBYE)
		end

		assert_equal 0, root.await_exit
		workers.each { |pid| assert_gone(pid) }
		refute_path_exists root.socket_path
	end

	def test_end_of_the_root_ends_the_workers
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30])
		root.note("a started")
		Process.kill(:KILL, root.pid)

		assert_nil peer.await_close
		assert_gone(peer.hello["pid"])
	end

	def test_beat_names_the_stalled_job
		root = start
		peer = root.greet
		assert_nil root.event("beat")["stalled"]
		peer.jobs(7 => ["NoteJob", "a"], 4711 => ["BusyJob", "busy", 2.5])
		root.note("busy started")
		beat = root.event("beat") { |event| event["stalled"] }

		assert_equal 4711, beat["stalled"]["number"]
		assert_operator beat["lag_ms"], :>, 1_000
		assert_equal peer.hello["pid"], beat["pid"]
		assert_operator beat["busy"], :>=, 1
		assert_operator beat["rss_kb"], :>, 1_000
		assert(beat["stalled"]["frames"].any? { |frame| frame.include?("plain_app.rb") }, beat.inspect)
	end
end
