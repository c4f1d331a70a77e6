# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# Whoever changes a method of Sidekiq's server is called here when Sidekiq would call him, in the same order: for every
# method of every class that a job meets, before the first job and after it. What no job meets here is in `Stock::ASIDE`.
class PatchedTest < Minitest::Test
	include Inline

	Stock = Gokiq::Sidecar::Stock

	# A module that is put before the class, a method that is written anew and calls the old one by another name, and the
	# first of it around the class's own methods.
	WAYS = {
		prepend: lambda do |owner, name, note|
			owner.prepend(Module.new { define_method(name) { |*arguments, **options, &block| note.call(name) { super(*arguments, **options, &block) } } })
		end,
		alias: lambda do |owner, name, note|
			owner.class_eval do
				visible = private_method_defined?(name) ? :private : :public
				original = instance_method(name)
				define_method(name) { |*arguments, **options, &block| note.call(name) { original.bind_call(self, *arguments, **options, &block) } }
				send(visible, name)
			end
		end,
	}.freeze

	# Jobs that end well, that fail within the rules, and beyond.
	JOBS = {plain: ["InlineJobs::Plain", 1], raising: ["InlineJobs::Raise", "no"], unknown: ["NoSuchJob"], more: ["InlineJobs::Plain", {tags: ["a"]}]}.freeze

	# These are asked for other things than jobs, and how often does not matter; or their work is the orchestrator's.
	APART = {
		Sidekiq::JobRetry => %i[initialize],
		Sidekiq::JobLogger => %i[initialize],
		Sidekiq::Processor => %i[inspect] + Stock::ASIDE[Sidekiq::Processor],
		Sidekiq::Metrics::ExecutionTracker => %i[initialize flush reset reset_instance_variables],
		Sidekiq::Metrics::Histogram => %i[initialize persist fetch label persist to_s],
		Sidekiq::Middleware::Chain => %i[initialize copy_for remove add prepend insert_before insert_after exists? include? clear],
		Sidekiq::Middleware::Entry => %i[initialize],
		Sidekiq::Processor::Counter => %i[initialize reset],
		Sidekiq::Processor::SharedWorkState => %i[initialize dup size clear],
		Logger => %i[initialize reopen close],
	}.freeze

	CLASSES = (Stock::PARTS.values_at(:processor, :retries, :job_logger, :chain, :metrics).flatten.grep(Class) + [Logger, Sidekiq::Logger, Sidekiq::Logger::Formatters::Base, Sidekiq::Logger::Formatters::Pretty]).freeze

	# What Sidekiq's processor is given by its fetcher.
	Unit = Struct.new(:job, :queue_name) do
		def acknowledge
		end
	end

	# Stands where Sidekiq expects its pool of Redis connections.
	class Pool
		def with
			yield Gokiq::Sidecar::Recorder.new
		end
	end

	def self.methods_of(owner)
		(owner.instance_methods(false) + owner.private_instance_methods(false) - APART.fetch(owner, [])).sort
	end

	CLASSES.each do |owner|
		WAYS.each_key do |way|
			[true, false].each do |late|
				define_method("test_#{way}_#{owner}_#{late ? "after" : "before"}_the_first_job") { assert_same_calls(owner, way, late) }
			end
		end
	end

	# Every object answers to these; a class that answers itself changes what Sidekiq's code does.
	def test_a_method_that_every_object_has
		in_a_fork do
			Sidekiq::JobRetry.prepend(Module.new { def rand(*) = (PatchedTest.calls << :rand) && 0 })
			compare(:warn, "test") { |calls| assert_includes calls, :rand }
		end
	end

	def test_methods_of_the_classes_themselves
		{Sidekiq::Context => :current, Sidekiq::Middleware::Entry => :new, Sidekiq::Job::InterruptHandler => :new}.each do |owner, name|
			in_a_fork do
				prepare
				WAYS[:prepend].call(owner.singleton_class, name, method(:note))
				# Nobody is told of this one; the next BEAT finds it.
				Stock.stir
				%i[info warn].each { |level| compare(level, "#{owner}.#{name}") }
			end
		end
	end

	def test_objects_that_someone_has_extended
		{Sidekiq::Processor::PROCESSED => :incr, Sidekiq::Processor::WORK_STATE => :set}.each do |object, name|
			in_a_fork do
				prepare
				object.extend(Module.new { define_method(name) { |*arguments| (PatchedTest.calls << name) && super(*arguments) } })
				Stock.stir
				compare(:warn, name) { |calls| assert_includes calls, name }
			end
		end
	end

	# Code that is not written in the refinement's file does not see it.
	def test_a_refinement_is_seen_by_nobody
		in_a_fork do
			Module.new { refine(Sidekiq::Processor) { def dispatch(*) = raise("seen") } }
			compare(:warn, "refine")
			assert Stock.processor?
		end
	end

	# An agent that measures how long Sidekiq fetches costs no job its short way.
	def test_what_no_job_meets_changes_nothing
		in_a_fork do
			Sidekiq::Processor.prepend(Module.new { def fetch = super; def agents_own_helper = 1 })
			Sidekiq::Processor.class_eval { def another_helper = 2 }
			assert Stock.processor?
			Sidekiq::Processor.prepend(Module.new { private def execute_job(*) = super })
			refute Stock.processor?
		end
	end

	def self.calls
		@calls ||= []
	end

	private

	def assert_same_calls(owner, way, late)
		self.class.methods_of(owner).each do |name|
			in_a_fork do
				prepare if late
				WAYS.fetch(way).call(owner, name, method(:note))
				%i[info warn].each { |level| compare(level, "#{owner}##{name}") }
			end
		end
	end

	# The same jobs on Sidekiq's processor and in our workload.
	def compare(level, what)
		prepare
		@config.logger.level = level

		JOBS.each do |kind, (name, *arguments)|
			options = Hash === arguments.last ? arguments.pop : {}
			payload = Peer.payload(name, *arguments, **options)
			theirs = record { run_by_sidekiq(payload) }
			[(plain_job(payload) if options.empty?), payload].compact.each do |job|
				ours = record { work(job, slots: 1) }
				assert_equal theirs, ours, "#{what}, #{kind}, level #{level}"
			end
			yield theirs if block_given? && kind == :raising
		end
	end

	def note(name)
		calls = PatchedTest.calls
		calls << name
		yield
	ensure
		calls << :"end of #{name}"
	end

	def record
		PatchedTest.calls.clear
		yield
		PatchedTest.calls.dup
	end

	def run_by_sidekiq(payload)
		Thread.current[:sidekiq_redis_pool] = Pool.new
		@processor.send(:process, Unit.new(payload, "default"))
	rescue Exception
		# As it leaves the processor; the manager makes another one.
	ensure
		Thread.current[:sidekiq_redis_pool] = nil
	end

	# Everything that is made once is there.
	def prepare
		return if @processor

		@config.logger.formatter = Sidekiq::Logger::Formatters::Pretty.new
		@config[:error_handlers].clear << ->(*) {}
		tracker = Sidekiq::Metrics::ExecutionTracker.new(@config)
		@config.server_middleware do |chain|
			chain.clear
			chain.add(Sidekiq::Metrics::Middleware, tracker)
			chain.add(Sidekiq::Job::InterruptHandler)
		end
		@processor = Sidekiq::Processor.new(@config.default_capsule)
		payload = Peer.payload("InlineJobs::Plain")
		run_by_sidekiq(payload)
		work(payload)
		work(plain_job(payload))
	end

	# What is done to a class stays there.
	def in_a_fork
		reader, writer = IO.pipe
		pid = fork do
			reader.close
			yield
			exit!(true)
		rescue Exception => error
			writer.write("#{error.class}: #{error.message}\n#{error.backtrace.first(8).join("\n")}")
			writer.close
			exit!(false)
		end
		writer.close
		text = reader.read
		_, status = Process.wait2(pid)
		assert_predicate status, :success?, text
	ensure
		reader.close
	end
end
