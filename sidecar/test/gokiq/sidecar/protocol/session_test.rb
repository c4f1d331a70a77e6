# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"
require "gokiq/sidecar/protocol/session"

# One connection of a worker in a process of its own.
class SessionTest < Minitest::Test
	include WithRoot

	def test_handshake
		root = start
		peer = root.connect
		hello = peer.await_hello

		assert_equal [1], hello["protocol"]
		assert_equal root.workers, [hello["pid"]]
		assert_equal root.pid, hello["ppid"]
		assert_equal 1, hello["generation"]
		assert_equal 50, hello["slots"]
		assert_equal "fiber", hello["lane"]
		assert_equal RUBY_VERSION, hello["versions"]["ruby"]
		assert_nil hello["versions"]["rails"]
		assert_equal [["default", 0]], hello["sidekiq"]["capsules"].fetch(0)["queues"]
		assert_match(/no-redis\z/, hello["redis"]["path"])
		assert_equal 50, peer.greet
		assert_equal "server true", root.notes.first
	end

	def test_a_peer_that_never_says_welcome_is_left
		["", [100, 3, 0].pack("NCC")].each do |said|
			ours, theirs = UNIXSocket.pair
			theirs.write(said)
			worker = Struct.new(:hello).new({})

			session = Gokiq::Sidecar::Session.new(ours, worker, patience_s: 0.1)

			capture_subprocess_io do
				Sync { |task| task.with_timeout(Wait::LIMIT_S) { session.run } }
			end

			assert_match(/{}\z/, theirs.read)
		end
	end

	def test_every_slot_may_have_a_connection
		root = start
		peer = root.greet
		peer.jobs(1 => ["PoolJob"])
		peer.results(1)

		assert_equal 5, peer.hello["sidekiq"]["capsules"].fetch(0)["concurrency"]
		assert_includes root.notes, "pool of 50"
	end

	def test_redis_of_the_environment
		root = start(env: {"REDIS_URL" => nil, "REDIS_PROVIDER" => "OWN_REDIS", "OWN_REDIS" => "rediss://:secret@redis.test:7000/3"})
		redis = root.connect.await_hello["redis"]

		assert_equal ["redis.test", 7000, 3, true, "secret"], redis.values_at("host", "port", "db", "ssl", "password")
		assert_equal %w[env OWN_REDIS], redis.values_at("source", "variable")
	end

	def test_results
		root = start
		peer = root.greet
		peer.jobs(1 => ["NoteJob", "one"], 2 => ["RaiseJob", "böse"], 3 => "{", 4 => ["MissingJob"], 2**64 - 1 => ["NoteJob", "last"])
		results = peer.results(1, 2, 3, 4, 2**64 - 1)

		assert_equal %i[ok retry dead retry ok], results.values_at(1, 2, 3, 4, 2**64 - 1).map(&:status)
		assert_equal ["ArgumentError", "böse"], [results[2].error_class, results[2].error_message]
		assert_equal "NameError", results[4].error_class
		assert_match(/main=true context=true/, root.note(/\Aone /))
	end

	def test_pong_while_a_job_waits
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30])
		root.note("a started")
		peer.send(:PING, "\x00\x01\x02\x03\x04\x05\x06\xFF".b)

		assert_equal "\x00\x01\x02\x03\x04\x05\x06\xFF".b, peer.expect(:PONG)
	end

	def test_hard_interrupt
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30], 2 => ["SleepJob", "b", 30], 3 => ["ThreadSleepJob", "c", 30])
		%w[a b c].each { |name| root.note("#{name} started") }
		peer.send(:INTERRUPT, [1, 1, 3, 1].pack("Q>CQ>C"))
		results = peer.results(1, 3)

		assert_equal [[:shutdown, 3]] * 2, results.values.map { |result| [result.status, result.counts] }
		assert_includes root.notes, "a over"
		refute_includes root.notes, "a finished"
		refute_includes root.notes, "b over"

		# The worker goes on.
		peer.jobs(4 => ["NoteJob", "d"], 5 => ["ThreadJob", "e"])
		assert_equal %i[ok ok], peer.results(4, 5).values.map(&:status)
	end

	def test_hard_interrupt_of_what_waits
		root = start(env: {"GOKIQ_SLOTS" => "1"})
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30], 2 => ["NoteJob", "b"])
		root.note("a started")
		peer.send(:INTERRUPT, [2, 1].pack("Q>C"))

		result = peer.results(2).fetch(2)
		assert_equal [:refused, 0, 0], [result.status, result.counts, result.elapsed_us]
	end

	def test_cooperative_interrupt
		root = start
		peer = root.greet
		peer.jobs(1 => ["PatientJob", "a"], 2 => ["PatientJob", "b"])
		root.note("a started")
		root.note("b started")
		peer.send(:INTERRUPT, [1, 0, 77, 0].pack("Q>CQ>C"))

		assert_equal :ok, peer.results(1).fetch(1).status
		refute_includes root.notes, "b asked"
	end

	def test_quiet
		root = start
		peer = root.greet
		peer.jobs(1 => ["PatientJob", "a"])
		root.note("a started")
		peer.send(:QUIET)

		assert_equal :ok, peer.results(1).fetch(1).status
		assert_equal ["event quiet second", "event quiet first"], root.notes.grep(/quiet/)
		peer.jobs(2 => ["NoteJob", "still"])
		assert_equal :ok, peer.results(2).fetch(2).status
	end

	def test_beat
		root = start
		peer = root.greet
		refute(root.notes.any? { |line| line.include?("beat") })
		peer.send(:BEAT)
		Wait.for("a beat") { root.notes.include?("event beat second") }
		peer.send(:BEAT)
		Wait.for("two beats") { root.notes.count("event beat second") == 2 }

		assert_equal 1, root.notes.count("event heartbeat first")
	end

	def test_thread_lane
		root = start
		peer = root.greet
		peer.jobs(1 => ["ThreadJob", "a"], 2 => ["NoteJob", "b"], 3 => Peer.payload("NoteJob", "c", gokiq_lane: "thread"))

		assert_equal %i[ok ok ok], peer.results(1, 2, 3).values.map(&:status)
		assert_match(/main=false/, root.note(/\Aa /))
		assert_match(/main=true/, root.note(/\Ab /))
		assert_match(/main=false/, root.note(/\Ac /))
	end

	def test_all_in_threads
		root = start(env: {"GOKIQ_LANE" => "thread", "GOKIQ_SLOTS" => "3"})
		peer = root.connect
		assert_equal "thread", peer.await_hello["lane"]
		assert_equal 3, peer.greet
		peer.jobs(1 => ["NoteJob", "a"], 2 => ["RaiseJob", "b"], 3 => "[]", 4 => ["SleepJob", "c", 30])
		results = peer.results(1, 2, 3)

		assert_equal %i[ok retry internal], results.values_at(1, 2, 3).map(&:status)
		assert_match(/main=false/, root.note(/\Aa /))
		root.note("c started")
		peer.send(:INTERRUPT, [4, 1].pack("Q>C"))
		assert_equal :shutdown, peer.results(4).fetch(4).status
	end

	def test_violations
		root = nil

		{
			"too long" => [67_108_865, 4, 0, 0].pack("NCCn"),
			"unknown type" => [0, 99, 0, 0].pack("NCCn"),
			"wrong direction" => Wire.frame(:RESULTS),
			"bad body" => Wire.frame(:INTERRUPT, "x"),
			"unknown route" => Wire.frame(:BATCH, Wire.batch({1 => "{}"}, route: 7)),
			"a second WELCOME" => Wire.frame(:WELCOME, '{"routes":[]}'),
			"a number that is out" => Wire.frame(:BATCH, Wire.batch({9 => Peer.payload("SleepJob", "x", 30)}) * 2),
		}.each do |what, bytes|
			peer = (root ||= start).greet
			peer.write(Wire.frame(:PING, "12345678") + bytes)
			assert_equal "12345678", peer.expect(:PONG), what
			refute_empty JSON.parse(peer.expect(:ERROR))["reason"], what
			assert_nil peer.await_close, what
		end
	end

	def test_batch_before_welcome
		peer = start.connect
		peer.await_hello
		peer.jobs(1 => ["NoteJob", "a"])

		assert_match(/WELCOME/, JSON.parse(peer.expect(:ERROR))["reason"])
		peer.await_close
	end

	def test_unknown_capsule
		peer = start.connect
		peer.await_hello
		peer.send(:WELCOME, JSON.generate(protocol: 1, routes: [{capsule: "nope", queue: "default"}]))

		assert_match(/nope/, JSON.parse(peer.expect(:ERROR))["reason"])
	end

	def test_optional_frame_is_skipped
		peer = start.greet
		peer.write([3, 200, 0, 0].pack("NCCn") + "abc" + Wire.frame(:PING, "12345678"))

		assert_equal "12345678", peer.expect(:PONG)
	end

	def test_bytes_one_by_one
		peer = start.greet
		Wire.frame(:BATCH, Wire.batch({1 => Peer.payload("NoteJob", "a")})).each_char { |byte| peer.write(byte) }

		assert_equal :ok, peer.results(1).fetch(1).status
	end

	def test_many_at_once
		peer = start.greet
		numbers = (1..2_000).to_a
		numbers.each_slice(250) { |slice| peer.jobs(slice.to_h { |number| [number, ["NoteJob", "n#{number}"]] }) }

		assert_equal [:ok], peer.results(*numbers).values.map(&:status).uniq
	end
end
