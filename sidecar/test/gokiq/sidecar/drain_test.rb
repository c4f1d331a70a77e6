# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# A worker that is told to leave twice.
class DrainTest < Minitest::Test
	include WithRoot

	def test_a_shorter_time_counts
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30])
		root.note("a started")
		peer.send(:DRAIN, [900.0].pack("G"))
		peer.expect(:DRAIN)
		peer.send(:DRAIN, [0.3].pack("G"))

		assert_equal :shutdown, peer.results(1).fetch(1).status
		peer.expect(:GOODBYE)
	end

	def test_a_longer_one_does_not
		root = start
		peer = root.greet
		peer.jobs(1 => ["SleepJob", "a", 30])
		root.note("a started")
		peer.send(:DRAIN, [0.5].pack("G"))
		peer.send(:DRAIN, [900.0].pack("G"))
		peer.expect(:DRAIN)

		assert_equal :shutdown, peer.results(1).fetch(1).status
	end
end
