# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# Server middleware of the application, and Sidekiq's own.
class MiddlewareTest < Minitest::Test
	include Inline

	def test_middleware_that_does_not_yield
		@config.server_middleware { |chain| chain.add(Class.new { def call(*) = :no }) }
		ran = false

		assert_outcome :ok, 1, perform_with { ran = true }
		refute ran
	end

	def test_middleware_that_changes_the_job
		@config.server_middleware do |chain|
			chain.add(Class.new { def call(_instance, job, queue) = (job["args"] << queue) && yield })
		end
		seen = nil

		assert_outcome :ok, 1, perform_with(1) { |*arguments| seen = arguments }
		assert_equal [1, "default"], seen
	end

	def test_middleware_that_raises
		@config.server_middleware { |chain| chain.add(Class.new { def call(*) = raise("before") }) }
		result = perform_with {}

		assert_outcome :retry, 3, result
		assert_equal "before", result.job["error_message"]
	end

	def test_stock_middleware
		config = @config
		config.server_middleware do |chain|
			chain.add(Sidekiq::Metrics::Middleware, Sidekiq::Metrics::ExecutionTracker.new(config))
			chain.add(Sidekiq::Job::InterruptHandler)
		end

		assert_outcome :ok, 1, run_job("InlineJobs::Plain")
		assert_outcome :retry, 3, run_job("InlineJobs::Raise")
		pushed = catch_pushes { assert_outcome :skipped, 3, perform_with(5) { raise Sidekiq::Job::Interrupted } }
		assert_equal [["InlineJobs::Call", [5]]], pushed
		assert_equal ["Job raised exception"], contexts
	end

	private

	def perform_with(*arguments, **options, &block)
		InlineJobs::Call.body = block
		run_job("InlineJobs::Call", *arguments, **options)
	end

	def assert_outcome(status, counts, result)
		assert_equal [status, counts], [result.status, result.counts], "#{result.inspect}\n#{@trouble.inspect}"
	end

	# What would have been pushed to Redis.
	def catch_pushes
		pushed = []
		client = Object.new
		client.define_singleton_method(:push) { |job| pushed << job.values_at("class", "args") }
		Sidekiq::Client.define_singleton_method(:new) { |*| client }
		yield
		pushed
	ensure
		Sidekiq::Client.singleton_class.send(:remove_method, :new)
	end
end
