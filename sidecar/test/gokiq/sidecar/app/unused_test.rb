# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"

require "gokiq/sidecar/app/unused"

# What is said about parts of the application that have no effect.
class UnusedTest < Minitest::Test
	include Inline

	Unused = Gokiq::Sidecar::Unused

	def test_an_ordinary_app_hears_nothing
		assert_empty warnings
	end

	def test_a_way_of_its_own_to_enqueue
		@config[:scheduled_enq] = Minitest

		assert_match(/scheduled_enq Minitest is not used/, warnings.fetch(0))
	end

	%w[Pro Enterprise].each do |edition|
		define_method(:"test_#{edition}") do
			Sidekiq.const_set(edition, Module.new)
			assert_match(/Sidekiq #{edition} is loaded/, warnings.fetch(0))
		ensure
			Sidekiq.send(:remove_const, edition)
		end
	end

	def test_threads_that_a_fork_would_lose
		thread = Thread.new { sleep }
		Wait.for("its sleep") { thread.stop? }

		assert_match(/1 threads that were started .*unused_test.rb:\d+.*; start them in config.on\(:startup\)/, warnings([thread]).fetch(0))
	ensure
		thread.kill.join
	end

	private

	# The test's own threads are none of the app's.
	def warnings(threads = [])
		Unused.of(@config, threads: threads)
	end
end
