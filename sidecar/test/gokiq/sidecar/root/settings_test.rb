# frozen_string_literal: true

require "minitest/autorun"

require "gokiq/sidecar/root/settings"

# What the environment may say.
class SettingsTest < Minitest::Test
	def settings(**variables)
		Gokiq::Sidecar::Settings.new({"GOKIQ_SOCKET" => "/x/s"}.merge(variables.transform_keys { |key| "GOKIQ_#{key}" }))
	end

	def assert_refused(pattern, **variables)
		assert_match pattern, assert_raises(Gokiq::Sidecar::BootError) { settings(**variables) }.message
	end

	def test_defaults
		plain = settings

		assert_equal ["/x/s", [], 1, :auto], [plain.socket_path, plain.arguments, plain.workers, plain.lane]
		assert_equal ["/x/s.news", *([nil] * 5)], [plain.monitor_path, plain.slots, plain.threads, plain.identity, plain.drain_s, plain.parent_pid]
		refute_predicate plain, :verbose?
	end

	def test_everything
		full = settings(
			MONITOR: "/x/m", SIDEKIQ_ARGS: '["-r","./app.rb","-v"]', WORKERS: "4", SLOTS: "250", THREADS: "7", LANE: "thread",
			IDENTITY: "web-1:1:abc", DRAIN_S: "24.5", PARENT_PID: "12",
		)

		assert_equal ["/x/m", ["-r", "./app.rb", "-v"], 4, 250, 7, :thread], [full.monitor_path, full.arguments, full.workers, full.slots, full.threads, full.lane]
		assert_equal ["web-1:1:abc", 24.5, 12], [full.identity, full.drain_s, full.parent_pid]
		assert_predicate full, :verbose?
	end

	def test_empty_is_absent
		empty = settings(MONITOR: "", SIDEKIQ_ARGS: "", WORKERS: "", SLOTS: "", LANE: "", IDENTITY: "", DRAIN_S: "", PARENT_PID: "")

		assert_equal ["/x/s.news", [], 1, nil, :auto, nil, nil, nil], [empty.monitor_path, empty.arguments, empty.workers, empty.slots, empty.lane, empty.identity, empty.drain_s, empty.parent_pid]
	end

	def test_socket_is_required
		error = assert_raises(Gokiq::Sidecar::BootError) { Gokiq::Sidecar::Settings.new({}) }

		assert_match(/GOKIQ_SOCKET/, error.message)
		assert error.hint
		assert_refused(/GOKIQ_SOCKET/, SOCKET: "")
	end

	def test_paths_are_limited
		assert_equal 100, settings(SOCKET: "x" * 100).socket_path.bytesize
		assert_refused(/101 bytes/, SOCKET: "x" * 101)
		assert_refused(/102 bytes/, SOCKET: "é" * 51)
		assert_refused(/GOKIQ_MONITOR/, MONITOR: "x" * 101)
	end

	def test_numbers
		%w[0 -1 1.5 many 0x10 1e3].each do |value|
			%i[WORKERS SLOTS THREADS PARENT_PID].each { |name| assert_refused(/GOKIQ_#{name}/, name => value) }
		end
	end

	def test_seconds
		assert_equal 0.0, settings(DRAIN_S: "0").drain_s
		%w[-1 soon NaN].each { |value| assert_refused(/GOKIQ_DRAIN_S/, DRAIN_S: value) }
	end

	def test_lanes
		%w[auto fiber thread].each { |lane| assert_equal lane.to_sym, settings(LANE: lane).lane }
		assert_refused(/GOKIQ_LANE/, LANE: "process")
	end

	def test_events
		assert_equal :auto, settings.events
		assert_equal :one, settings(EVENTS: "one").events
		assert_refused(/GOKIQ_EVENTS is not one of auto, every, one: "none"/, EVENTS: "none")
	end

	def test_arguments
		["{", "{}", "[1]", "\"-v\"", "null"].each { |value| assert_refused(/GOKIQ_SIDEKIQ_ARGS/, SIDEKIQ_ARGS: value) }
	end
end
