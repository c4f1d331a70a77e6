# frozen_string_literal: true

require "minitest/autorun"
require "gokiq/sidecar/app/database"

# When a job may start, with 5 connections and 100 slots.
class DatabaseTest < Minitest::Test
	def setup
		@stats = [stat]
		@database = Gokiq::Sidecar::Database.new(100, 5) { @stats }
	end

	def stat(connections: 0, idle: 0, waiting: 0, size: 5)
		{size: size, connections: connections, idle: idle, waiting: waiting}
	end

	def grow(times)
		times.times { @database.look(100) }
	end

	def test_the_figures_of_the_scarcest_pool
		@stats = [stat(connections: 3, idle: 2), stat(size: 7, connections: 7, idle: 1, waiting: 2)]

		assert_equal({size: 7, used: 6, waiting: 5}, @database.figures(3))
	end

	def test_pools_that_may_run_out
		pool = Struct.new(:size)
		pools = [nil, 5, 10, 200].map { |size| pool.new(size) }

		assert_equal [5], Gokiq::Sidecar::Database.narrow(10, pools).map(&:size)
	end

	def test_as_many_as_there_are_connections_always_start
		@stats = [stat(connections: 5, waiting: 3)]

		assert @database.admit?(4)
	end

	def test_nothing_starts_while_all_connections_are_in_use
		grow(10)
		@stats = [stat(connections: 5)]

		refute @database.admit?(5)
	end

	def test_one_more_starts_when_a_connection_is_left
		grow(10)
		@stats = [stat(connections: 5, idle: 1)]

		assert @database.admit?(5)
	end

	def test_a_connection_that_somebody_waits_for_is_not_left
		grow(10)
		@stats = [stat(connections: 5, idle: 1, waiting: 1)]

		refute @database.admit?(5)
	end

	def test_the_scarcest_pool_counts
		grow(10)
		@stats = [stat, stat(connections: 5)]

		refute @database.admit?(5)
	end

	def test_the_limit_starts_at_the_size_and_grows_by_it_up_to_the_slots
		refute @database.admit?(5)
		grow(1)
		assert @database.admit?(9)
		refute @database.admit?(10)
		grow(100)
		assert_equal 100, @database.window
	end

	def test_the_limit_grows_only_when_it_holds_jobs_back
		@database.look(4)

		refute @database.admit?(5)
	end

	def test_the_limit_does_not_grow_while_no_connection_is_left
		@stats = [stat(connections: 5)]
		grow(10)
		@stats = [stat]

		refute @database.admit?(5)
	end

	def test_jobs_that_wait_are_taken_off_the_limit
		grow(19)
		@stats = [stat(connections: 5, waiting: 30)]
		refute @database.admit?(60)
		@stats = [stat(connections: 5, idle: 5)]

		assert @database.admit?(29)
		refute @database.admit?(30)
	end

	def test_the_window_has_as_many_at_hand_as_there_are_connections
		assert_equal 10, @database.window
	end
end
