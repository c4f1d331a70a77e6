# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# The processor's own way through the layers of Sidekiq must not differ from Sidekiq's.
class LeanTest < Minitest::Test
	include Inline

	Stock = Gokiq::Sidecar::Stock

	# Remembers the order in which layers were met.
	class Witness
		class << self
			attr_accessor :seen
		end

		def call(instance, job, queue)
			self.class.seen << [instance.class.name, instance.jid, job["args"], queue, Sidekiq::Context.current.slice(:jid, :class, :tags)]
			yield
		ensure
			self.class.seen << :after
		end
	end

	SHAPES = {
		"plain" => ["InlineJobs::Plain", 1, {fields: {}}],
		"with tags" => ["InlineJobs::Plain", {fields: {tags: %w[a b], bid: "b1"}}],
		"own log level" => ["InlineJobs::Plain", {fields: {log_level: "debug"}}],
		"raises" => ["InlineJobs::Raise", "bäh", {fields: {}}],
		"raises again" => ["InlineJobs::Raise", {fields: {retry_count: 3, failed_at: 1_700_000_000_000}}],
		"retry missing" => ["InlineJobs::Raise", {fields: {retry: nil}}],
		"retry false" => ["InlineJobs::Raise", {fields: {retry: false}}],
		"class says no retry" => ["InlineJobs::Never", {fields: {retry: nil}}],
		"retry 0" => ["InlineJobs::Exhausted", {fields: {retry: 0}}],
		"retry as text" => ["InlineJobs::Raise", {fields: {retry: "3"}}],
		"retry_for over" => ["InlineJobs::Raise", {fields: {retry_for: 5, retry_count: 0, failed_at: 1_700_000_000_000}}],
		"kill" => ["InlineJobs::Kill", {fields: {}}],
		"discard" => ["InlineJobs::Discard", {fields: {}}],
		"bad retry_in" => ["InlineJobs::BadRetryIn", {fields: {}}],
		"backtrace" => ["InlineJobs::Raise", {fields: {backtrace: 1}}],
		"missing class" => ["NoSuchJob", {fields: {}}],
		"missing class, no retry" => ["NoSuchJob", {fields: {retry: false}}],
		"constructor raises" => ["InlineJobs::Constructor", {fields: {}}],
		"no job class" => ["Kernel", {fields: {}}],
		"too many arguments" => ["InlineJobs::Raise", 1, 2, {fields: {}}],
		"wrapped" => ["InlineJobs::Raise", {fields: {wrapped: "InlineJobs::Kill"}}],
		"shutdown" => ["InlineJobs::Call", {fields: {}, body: -> { raise Sidekiq::Shutdown }}],
		"skip" => ["InlineJobs::Call", {fields: {}, body: -> { raise Sidekiq::JobRetry::Skip }}],
		"handled" => ["InlineJobs::Call", {fields: {}, body: -> { raise Sidekiq::JobRetry::Handled, "x" }}],
		"exit" => ["InlineJobs::Call", {fields: {}, body: -> { exit }}],
		"not implemented" => ["InlineJobs::Call", {fields: {}, body: -> { raise NotImplementedError }}],
	}.freeze

	def setup
		super
		@contexts = []
		@config[:death_handlers] << ->(*) { @contexts << Sidekiq::Context.current.keys }
	end

	RAW = ["{", "2", "[]", "null", "{}", '{"class":null}', '{"class":["x"],"retry":true}', '{"class":"InlineJobs::Plain","args":5,"retry":true}', '{"class":"InlineJobs::Plain"}'].freeze

	[Logger::INFO, Logger::WARN].each do |level|
		SHAPES.each do |name, (klass, *arguments, options)|
			define_method(:"test_#{name.tr(" ", "_")}_level_#{level}") do
				InlineJobs::Call.body = options[:body]
				assert_same_both_ways(level, Peer.payload(klass, *arguments, **options[:fields]))
			end
		end

		RAW.each_with_index do |payload, index|
			define_method(:"test_raw_#{index}_level_#{level}") { assert_same_both_ways(level, payload) }
		end
	end

	# Of a plain job, in an app without middleware of its own, only the arguments are parsed.
	SHAPES.each do |name, (klass, *arguments, options)|
		fields = options[:fields]
		next unless (fields.keys - [:retry]).empty? && [true, false, nil, 0].include?(fields.fetch(:retry, true))

		[Logger::INFO, Logger::WARN].each do |level|
			define_method(:"test_#{name.tr(" ", "_")}_bare_level_#{level}") do
				InlineJobs::Call.body = options[:body]
				assert_same_bare(Peer.payload(klass, *arguments, **fields), level)
			end
		end
	end

	def test_interrupted_bare
		InlineJobs::Call.body = -> { raise Sidekiq::Job::Interrupted }
		pushed = []
		client = Object.new
		client.define_singleton_method(:push) { |job| pushed << job }

		stub_client(client) { assert_same_bare(Peer.payload("InlineJobs::Call")) }
		assert_equal ["InlineJobs::Call"] * 2, pushed.map { |job| job["class"] }
	end

	FORMATTERS = %i[Pretty Plain WithoutTimestamp JSON].select { |name| Sidekiq::Logger::Formatters.const_defined?(name) }

	FORMATTERS.each do |name|
		define_method(:"test_lines_of_#{name}_bare") do
			@config.logger.formatter = Sidekiq::Logger::Formatters.const_get(name).new
			logger = @config.logger
			InlineJobs::Call.body = -> { logger.warn("in between") }

			assert_same_bare(Peer.payload("InlineJobs::Call"), Logger::INFO)
			assert_equal 3, @log.string.lines.size
		end
	end

	def test_times_of_lines_are_those_of_the_jobs
		@config.logger.formatter = Sidekiq::Logger::Formatters::Pretty.new
		use_stock_chain
		InlineJobs::Call.body = -> { sleep(0.05) }
		work(plain_job(Peer.payload("InlineJobs::Call")))
		start, done = @log.string.scan(/\d{4}-\d\d-\d\dT\S+Z/).map { |text| Time.iso8601(text) }

		assert_operator done - start, :>=, 0.049
		assert_in_delta Time.now, done, 5
		assert_operator @log.string[/elapsed=(\S+): done/, 1].to_f, :>=, 0.05 if Sidekiq::VERSION >= "8"
	end

	def test_a_line_is_there_while_its_job_waits
		use_stock_chain
		log = @log
		InlineJobs::Call.body = -> { sleep(0.001) until log.string.include?("start") }

		assert_equal [:ok], work(plain_job(Peer.payload("InlineJobs::Call"))).map(&:status)
	end

	def test_arguments_that_are_no_json
		job = plain_job(Peer.payload("InlineJobs::Plain", 1).sub('"args":[1]', '"args":[x]'), args: "[x]")

		assert_equal [:dead, ""], work(job).map { |result| [result.status, result.payload] }.fetch(0)
	end

	def test_arguments_of_a_frame
		texts = ["[5]", "[x]", "[]", '["a,[b]"]', "[#{"1," * 200}2]", "[[{\"a\":null}]]"]
		arguments = Gokiq::Sidecar::Arguments.new
		texts.each { |text| arguments << text }

		expected = texts.map { |text| text == "[x]" ? nil : JSON.parse(text) }
		assert_equal expected, texts.each_index.map { |index| arguments.take(index) }
	end

	def test_own_reloader
		calls = []

		with_reloader(->(&block) { (calls << :in) && block.call.tap { calls << :out } }) do
			assert_equal :ok, run_job("InlineJobs::Plain").status
			assert_equal %i[in out], calls
		end
	end

	def test_reloader_that_raises
		with_reloader(->(*) { raise "reload" }) do
			assert_equal "reload", run_job("InlineJobs::Plain").error_message
			assert_same_both_ways(Logger::INFO, Peer.payload("InlineJobs::Plain"))
		end
	end

	def test_own_job_logger
		lines = []
		@config[:job_logger] = Class.new(Sidekiq::JobLogger) do
			define_method(:call) { |job, queue, &block| block.call.tap { lines << [job["class"], queue] } }
		end
		@config.logger.level = Logger::FATAL

		assert_equal :ok, run_job("InlineJobs::Plain").status
		assert_equal [["InlineJobs::Plain", "default"]], lines
	end

	private

	# Sidekiq asks the process's configuration for it.
	def with_reloader(reloader)
		original = Sidekiq.default_configuration[:reloader]
		Sidekiq.default_configuration[:reloader] = reloader
		yield
	ensure
		Sidekiq.default_configuration[:reloader] = original
	end

	def assert_same_both_ways(level, payload)
		@config.logger.level = level
		@config.server_middleware { |chain| chain.add(Witness) }
		@calls = 0
		lean = observe(payload)
		assert_equal 0, @calls unless lean[:status] == :internal
		long = without_lean { observe(payload) }
		assert_operator @calls, :>, 0 unless lean[:results][0] == :dead && payload == "{"

		assert_equal long, lean
	end

	def assert_same_bare(payload, level = Logger::WARN)
		@config.logger.level = level
		tracker = use_stock_chain
		@calls = 0
		long = without_lean { observe(payload) }
		long_metrics = metrics_of(tracker)
		@calls = 0
		bare = observe(plain_job(payload))

		assert_equal 0, @calls
		assert_equal long, bare
		tracker.instance_variable_get(:@gokiq_meter).hand_over
		assert_equal long_metrics, metrics_of(tracker)
	end

	# @returns [Sidekiq::Metrics::ExecutionTracker]
	def use_stock_chain
		@config.logger.formatter ||= Sidekiq::Logger::Formatters::Pretty.new
		Sidekiq::Metrics::ExecutionTracker.new(@config).tap do |tracker|
			@config.server_middleware do |chain|
				chain.clear
				chain.add(Sidekiq::Metrics::Middleware, tracker)
				chain.add(Sidekiq::Job::InterruptHandler)
			end
		end
	end

	# What the tracker holds, taken out of it.
	def metrics_of(tracker)
		totals, jobs, grams = tracker.send(:reset)
		counts = [totals, jobs].map { |hash| hash.to_h { |key, value| [key, key.end_with?("ms") ? :ms : value] } }
		[*counts, grams.transform_values { |gram| gram.to_a.sum }]
	end

	def stub_client(client)
		Sidekiq::Client.define_singleton_method(:new) { |*, **| client }
		yield
	ensure
		Sidekiq::Client.singleton_class.send(:remove_method, :new)
	end

	def observe(payload)
		Witness.seen = []
		@trouble.clear
		@deaths.clear
		@contexts.clear
		@log.truncate(0)
		@log.rewind
		began = Time.now.to_f
		result = count_dispatch { work(payload, slots: 1).fetch(0) }

		{
			status: result.status,
			results: [result.status, result.counts, result.error_class, result.error_message, stored(result)],
			score: result.score.zero? ? nil : ((result.score - began).floor / 1_000 if result.score > began),
			middleware: Witness.seen,
			trouble: @trouble.map { |error, context| [error.class, error.message, context] },
			deaths: @deaths.map { |job, error| [steady(job), error.class] },
			contexts: @contexts.dup,
			log: @log.string.gsub(/\S*\d\d:\d\d:\S+|elapsed=\S+|tid=\S+/, "…"),
		}
	end

	def stored(result)
		result.payload.empty? ? "" : steady(result.job)
	end

	# Without what the clock writes into it.
	def steady(job)
		job.to_h { |key, value| [key, key.end_with?("_at") && key != "created_at" ? value.class : value] }
	end

	def count_dispatch(&block)
		trace = TracePoint.new(:call) { |point| @calls += 1 if point.method_id == :dispatch && point.defined_class == Sidekiq::Processor }
		trace.enable(&block)
	end

	def without_lean
		original = Stock.method(:processor?)
		Stock.singleton_class.send(:remove_method, :processor?)
		Stock.define_singleton_method(:processor?) { false }
		yield
	ensure
		Stock.singleton_class.send(:remove_method, :processor?)
		Stock.define_singleton_method(:processor?, original)
	end
end
