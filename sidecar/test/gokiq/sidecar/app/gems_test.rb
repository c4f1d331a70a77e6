# frozen_string_literal: true

require "minitest/autorun"
require "json"
require "support/inline"

require "gokiq/sidecar/app/unobeyed"

# What gems that limit and pause have been told, and what of it cannot be obeyed. Each test is a process of its own: what a
# gem has put into Sidekiq's classes stays there.
class GemsTest < Minitest::Test
	include Inline

	def test_an_app_without_such_gems
		assert_equal({}, Gokiq::Sidecar::Gems.settings(@config))
	end

	def test_pauzer
		settings, refusals = alone { require "support/pauzer_shape" }

		assert_equal({"sidekiq-pauzer" => {"paused" => "sidekiq-pauzer"}}, settings)
		assert_empty refusals
	end

	def test_pauzer_before_its_fifth_release
		settings, = alone do
			Sidekiq.const_set(:Pauzer, Module.new)
			Sidekiq::Pauzer.instance_variable_set(:@config, Struct.new(:redis_key).new("shop:sidekiq-pauzer"))
		end

		assert_equal({"sidekiq-pauzer" => {"paused" => "shop:sidekiq-pauzer"}}, settings)
	end

	def test_limit_fetch
		settings, refusals = alone do
			require "support/limit_fetch_shape"
			@config.merge!(limits: {a: 2, "b" => "3", c: "many", d: -1}, process_limits: {a: 1})
		end

		expected = {"live" => "limit_fetch", "cluster" => {"queues" => {"a" => 2, "b" => 3, "d" => 0}}, "limits" => {"queues" => {"a" => 1}}}
		assert_equal({"sidekiq-limit_fetch" => expected}, settings)
		assert_empty refusals
	end

	def test_what_limit_fetch_has_that_cannot_be_obeyed
		_, refusals = alone do
			require "support/limit_fetch_shape"
			@config.merge!(blocking: ["a"], dynamic: {exclude: []})
		end

		assert_match(/\Asidekiq-limit_fetch cannot be obeyed: `blocking`/, refusals[0])
		assert_match(/\Asidekiq-limit_fetch cannot be obeyed: `dynamic`/, refusals[1])
	end

	def test_limits_and_thresholds_of_throttled
		settings, refusals, doubts = alone { throttled("BothJob", concurrency: {limit: 3}, threshold: {limit: 10, period: 60}) }

		expected = {"cluster" => {"classes" => {"BothJob" => 3}}, "rates" => {"classes" => {"BothJob" => {"count" => 10, "per" => 60.0, "sliding" => true}}}, "dependencies" => {}}
		assert_equal({"sidekiq-throttled" => expected}, settings)
		assert_empty refusals
		assert_empty doubts
	end

	def test_the_narrowest_of_several_limits_counts
		assert_equal({"classes" => {"TwoJob" => 2}}, cluster { throttled("TwoJob", concurrency: [{limit: 5}, {limit: 2}]) })
	end

	def test_none_at_all_and_none_without_end
		assert_equal({"classes" => {"NoJob" => 0}}, cluster { throttled("NoJob", concurrency: {limit: -1}) })
		assert_equal({"classes" => {"NeverJob" => 0}}, cluster { throttled("NeverJob", threshold: {limit: 0, period: 5}) })
		assert_equal({}, cluster { throttled("FreeJob", concurrency: {limit: nil}, threshold: {limit: nil, period: 5}) })
	end

	def test_subclasses_and_classes_that_share_a_name_are_one_dependency
		settings, refusals = alone do
			throttled("ParentJob", concurrency: {limit: 1})
			Object.const_set("ChildJob", Class.new(ParentJob))
			Sidekiq::Throttled::Registry.add(:shared, concurrency: {limit: 2})
			%w[LeftJob RightJob].each { |name| job(name).sidekiq_throttle_as(:shared) }
		end

		said = settings.fetch("sidekiq-throttled")
		assert_equal({"throttled:ParentJob" => 1, "throttled:shared" => 2}, said["cluster"]["dependencies"])
		assert_equal({"throttled:ParentJob" => {"classes" => %w[ChildJob ParentJob]}, "throttled:shared" => {"classes" => %w[LeftJob RightJob]}}, said["dependencies"])
		assert_empty refusals
	end

	def test_a_job_of_active_job
		settings, = alone do
			require "support/throttled_shape"
			Object.const_set(:ActiveJob, Module.new.tap { |mod| mod.const_set(:Base, Class.new) })
			Object.const_set(:MailJob, Class.new(ActiveJob::Base) { include Sidekiq::Throttled::Job })
			MailJob.sidekiq_throttle(concurrency: {limit: 3})
		end

		assert_equal({"classes" => {"MailJob" => 3}}, settings["sidekiq-throttled"]["cluster"])
	end

	def test_what_depends_on_the_job_is_refused
		{
			{concurrency: {limit: ->(id) { id }}} => "has a limit that depends on the job",
			{threshold: {limit: 5, period: ->(id) { id }}} => "has a period that depends on the job",
			{concurrency: {limit: 5}, key_suffix: ->(id) { id }} => "has a key_suffix that depends on the job",
			{threshold: [{limit: 5, period: 1}, {limit: 50, period: 60}]} => "has several thresholds",
		}.each do |options, reason|
			_, refusals = alone { throttled("HardJob", **options) }

			assert_equal ["sidekiq-throttled cannot be obeyed: HardJob #{reason}"], refusals
		end
	end

	def test_two_dependencies_of_one_class
		_, refusals = alone do
			throttled("BaseJob", concurrency: {limit: 1})
			Object.const_set("OwnJob", Class.new(BaseJob) { sidekiq_options gokiq_dependency: "api" })
		end

		assert_equal ["sidekiq-throttled cannot be obeyed: BaseJob shares its limits and has a gokiq_dependency of its own"], refusals
	end

	def test_a_limit_that_depends_on_nothing_is_read_once_and_what_is_not_called_is_said
		settings, refusals, doubts = alone { throttled("ReadJob", concurrency: {limit: -> { 4 }}, key_suffix: "x", observer: -> {}, requeue: {to: :low}) }

		assert_equal({"classes" => {"ReadJob" => 4}}, settings["sidekiq-throttled"]["cluster"])
		assert_empty refusals
		assert_equal 3, doubts.size
		assert(doubts.all? { |line| line.start_with?("sidekiq-throttled: ReadJob: ") })
	end

	private

	def throttled(name, **options)
		job(name).sidekiq_throttle(**options)
	end

	def job(name)
		require "support/throttled_shape"
		Object.const_set(name, Class.new { include Sidekiq::Job; include Sidekiq::Throttled::Job }) # rubocop:disable Style/Semicolon
	end

	def cluster(&block)
		alone(&block).first["sidekiq-throttled"]["cluster"]
	end

	# In a process of its own: settings, refusals and doubts.
	def alone
		reader, writer = IO.pipe
		child = fork do
			reader.close
			yield
			gems = Gokiq::Sidecar::Gems
			said = [gems.settings(@config), Gokiq::Sidecar::Unobeyed.new(@config).all.map(&:to_s), gems.there.flat_map { |gem| gem.doubts(@config) }]
			writer.write(JSON.generate(said))
			exit!(0)
		end
		writer.close
		JSON.parse(reader.read).tap { Process.wait(child) }
	end
end
