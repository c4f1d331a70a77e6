# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"

require "gokiq/sidecar/unused"

# What is said about parts of the application that have no effect.
class UnusedTest < Minitest::Test
	include Inline

	Unused = Gokiq::Sidecar::Unused

	def test_an_ordinary_app_hears_nothing
		assert_empty Unused.of(@config)
	end

	def test_a_fetcher_of_its_own
		@config[:fetch_class] = Minitest

		assert_match(/the fetcher Minitest is not used/, Unused.of(@config).fetch(0))
	end

	def test_a_way_of_its_own_to_enqueue
		@config[:scheduled_enq] = Minitest

		assert_match(/scheduled_enq Minitest is not used/, Unused.of(@config).fetch(0))
	end

	%w[Pro Enterprise].each do |edition|
		define_method(:"test_#{edition}") do
			Sidekiq.const_set(edition, Module.new)
			assert_match(/Sidekiq #{edition} is loaded/, Unused.of(@config).fetch(0))
		ensure
			Sidekiq.send(:remove_const, edition)
		end
	end

	def test_a_fetcher_that_was_wrapped
		reader, writer = IO.pipe

		child = fork do
			reader.close
			require "sidekiq/fetch"
			Sidekiq::BasicFetch.class_eval { def retrieve_work = nil }
			writer.write(Unused.of(@config).join)
			exit!(0)
		end

		writer.close
		assert_match(/BasicFetch has been changed/, reader.read)
		Process.wait(child)
	end
end
