# frozen_string_literal: true

require "minitest/autorun"
require "socket"
require "timeout"
require "tmpdir"

require "gokiq/sidecar/root/monitor"

# News for an orchestrator that does not read them now.
class MonitorTest < Minitest::Test
	def test_a_full_queue_holds_nobody_up
		Dir.mktmpdir do |folder|
			path = File.join(folder, "monitor")
			news = Socket.new(:UNIX, :DGRAM)
			news.bind(Socket.sockaddr_un(path))
			monitor = Gokiq::Sidecar::Monitor.new(path)
			sent = Timeout.timeout(5) { Array.new(2_000) { monitor.call("beat", busy: 1) } }

			assert_equal [true, false], sent.uniq
			assert_match(/"busy":1/, news.recv(1_000))
			assert monitor.call("beat", busy: 2)
		ensure
			news.close
		end
	end
end
