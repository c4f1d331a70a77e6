# frozen_string_literal: true

require "minitest/autorun"
require "sidekiq/cli"
require "gokiq/sidecar/sidekiq/meter"

# Metrics are Sidekiq's to the number, and a payload that names classes without end fills no memory.
class MeterTest < Minitest::Test
	Meter = Gokiq::Sidecar::Meter

	def setup
		@tracker = Sidekiq::Metrics::ExecutionTracker.new(Sidekiq.default_configuration)
		@meter = Meter.for(Sidekiq::Metrics::Middleware.new(@tracker))
	end

	def test_names_without_end_are_not_kept
		(Meter::MOST + 50).times { |number| count("Class#{number}") }

		assert_equal Meter::MOST, @meter.instance_variable_get(:@tallies).size
	end

	def test_all_of_them_are_counted
		(Meter::MOST + 50).times { |number| count("Class#{number}") }
		@meter["Class#{Meter::MOST + 1}"].failed!
		@meter.hand_over

		jobs = @tracker.instance_variable_get(:@jobs)
		assert_equal [1, 1], [jobs["Class0|p"], jobs["Class#{Meter::MOST + 49}|p"]]
		assert_equal [2, 1, 7], %w[p f ms].map { |kind| jobs["Class#{Meter::MOST + 1}|#{kind}"] }
		assert_equal Meter::MOST + 51, @tracker.instance_variable_get(:@totals)["p"]
	end

	private

	# A job of 7 ms.
	def count(name)
		@meter[name].done(1_000_000, 1_007_000)
	end
end
