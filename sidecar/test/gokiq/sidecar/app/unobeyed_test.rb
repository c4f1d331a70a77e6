# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"

require "gokiq/sidecar/app/unobeyed"

# What protects jobs in Sidekiq's fetcher and would not be called stops the start.
class UnobeyedTest < Minitest::Test
	include Inline

	BootError = Gokiq::Sidecar::BootError

	# As gems have them.
	module Patch
		def retrieve_work = nil
	end

	class OwnFetch < Sidekiq::BasicFetch
	end

	def test_an_ordinary_app
		assert_empty check
	end

	def test_sidekiqs_own_fetcher_named
		@config[:fetch_class] = Sidekiq::BasicFetch

		assert_empty check
	end

	def test_a_fetcher_that_only_keeps_jobs
		Sidekiq.const_set(:SemiReliableFetch, Class.new(Sidekiq::BasicFetch))
		@config[:fetch_class] = Class.new(Sidekiq::SemiReliableFetch)

		assert_empty check
	ensure
		Sidekiq.send(:remove_const, :SemiReliableFetch)
	end

	def test_what_sidekiq_pro_changes
		said = alone do
			Sidekiq.const_set(:Pro, Module.new)
			Sidekiq::Pro.const_set(:SuperFetch, Class.new(Sidekiq::BasicFetch))
			Sidekiq::Pro.const_set(:Pauses, Module.new { def queues_cmd = super })
			Sidekiq::BasicFetch.prepend(Sidekiq::Pro::Pauses)
			@config[:fetch_class] = Sidekiq::Pro::SuperFetch
			check.inspect
		end

		assert_equal "[]", said
	end

	{
		"a fetcher of its own" => [-> { @config[:fetch_class] = OwnFetch }, "UnobeyedTest::OwnFetch", "replaces Sidekiq's fetcher"],
		"a fetcher that is an object" => [-> { @config[:fetch_class] = Patch }, "UnobeyedTest::Patch", "replaces Sidekiq's fetcher"],
		"a fetcher in a capsule" => [-> { @config.default_capsule.instance_variable_set(:@fetcher, OwnFetch.new(@config.default_capsule)) }, "UnobeyedTest::OwnFetch", "fetches for the capsule default"],
		"a module before the fetcher" => [-> { Sidekiq::BasicFetch.prepend(Patch) }, "UnobeyedTest::Patch", "in Sidekiq::BasicFetch"],
		"a module behind the fetcher" => [-> { Sidekiq::BasicFetch.include(Patch) }, "UnobeyedTest::Patch", "in Sidekiq::BasicFetch"],
		"a module before the manager" => [-> { Sidekiq::Manager.prepend(Patch) }, "UnobeyedTest::Patch", "in Sidekiq::Manager"],
		"a module without a name" => [-> { Sidekiq::BasicFetch.prepend(Module.new { def queues_cmd = [] }) }, "#{__FILE__}:#{__LINE__}", "in Sidekiq::BasicFetch"],
		"retrieve_work written anew" => [-> { Sidekiq::BasicFetch.class_eval { def retrieve_work = nil } }, "Sidekiq::BasicFetch#retrieve_work", "was rewritten"],
		"queues_cmd written anew" => [-> { Sidekiq::BasicFetch.class_eval { def queues_cmd = [] } }, "Sidekiq::BasicFetch#queues_cmd", "was rewritten"],
		"bulk_requeue written anew" => [-> { Sidekiq::BasicFetch.class_eval { def bulk_requeue(*) = nil } }, "Sidekiq::BasicFetch#bulk_requeue", "was rewritten"],
		"setup added" => [-> { Sidekiq::BasicFetch.class_eval { def setup(*) = nil } }, "Sidekiq::BasicFetch#setup", "was rewritten"],
		"new written anew" => [-> { Sidekiq::BasicFetch.define_singleton_method(:new) { |*| nil } }, "Sidekiq::BasicFetch.new", "was rewritten"],
		"a class that is extended" => [-> { Sidekiq::BasicFetch.extend(Patch) }, "UnobeyedTest::Patch", "in Sidekiq::BasicFetch"],
		"an alias around retrieve_work" => [
			lambda {
				Sidekiq::BasicFetch.class_eval do
					alias_method :old_retrieve_work, :retrieve_work
					def retrieve_work = old_retrieve_work
				end
			}, "Sidekiq::BasicFetch#retrieve_work", "was rewritten",
		],
		"the capsule's choice of a fetcher" => [-> { Sidekiq::Capsule.class_eval { def fetcher = nil } }, "Sidekiq::Capsule#fetcher", "was rewritten"],
		"a module that chooses the capsule's fetcher" => [-> { Sidekiq::Capsule.prepend(Module.new { def fetcher = nil }) }, "Sidekiq::Capsule#fetcher", "was rewritten"],
	}.each do |what, (change, name, said)|
		define_method(:"test_#{what}") do
			refusal = alone { refuse(&change) }
			assert_includes refusal, name
			assert_includes refusal, said
			assert_match(/ignore: \[.+\] }\z/, refusal)
			refute_includes refusal, "\n"

			ignored = alone do
				instance_exec(&change)
				@config[:gokiq] = {ignore: [name]}
				check.join("\n")
			end
			assert_match(/\Aignored: .*#{Regexp.escape(name)}/, ignored)
		end
	end

	def test_each_is_ignored_by_itself
		refusal = alone do
			@config[:gokiq] = {"ignore" => ["UnobeyedTest::Patch"]}
			Sidekiq::BasicFetch.prepend(Patch)
			refuse { @config[:fetch_class] = OwnFetch }
		end

		assert_match(/\AUnobeyedTest::OwnFetch replaces/, refusal)
	end

	def test_a_wrong_list
		[5, "sidekiq-throttled", {a: 1}, [5]].each do |wrong|
			@config[:gokiq] = {ignore: wrong}

			assert_match(/\Agokiq: ignore .*: must be a list of names, such as \[sidekiq-throttled\]\z/, assert_raises(BootError) { check }.message)
		end
	end

	def test_a_name_that_nothing_has
		@config[:gokiq] = {ignore: %w[sidekiq-throttled sidekiq-pauser]}
		error = assert_raises(BootError) { check }

		assert_equal "gokiq: ignore: sidekiq-pauser: nothing here has that name", error.message
		assert_equal "take it out, or use one of: sidekiq-throttled, sidekiq-limit_fetch, sidekiq-pauzer", error.hint
	end

	def test_a_gem_that_is_not_loaded_may_be_named
		@config[:gokiq] = {ignore: %w[sidekiq-throttled]}

		assert_empty check
	end

	private

	def check
		Gokiq::Sidecar::Unobeyed.new(@config).check
	end

	def refuse(&change)
		instance_exec(&change)
		error = assert_raises(BootError) { check }
		"#{error.message}; #{error.hint}"
	end

	# What the block returns in a process of its own.
	def alone
		reader, writer = IO.pipe
		child = fork do
			reader.close
			writer.write(yield)
			exit!(0)
		end
		writer.close
		reader.read.tap { Process.wait(child) }
	end
end
