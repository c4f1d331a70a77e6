# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/inline_jobs"

# What each way to end a job is reported as.
class OutcomeTest < Minitest::Test
	include Inline

	def perform_with(*arguments, **options, &block)
		InlineJobs::Call.body = block
		run_job("InlineJobs::Call", *arguments, **options)
	end

	def assert_outcome(status, counts, result)
		assert_equal [status, counts], [result.status, result.counts], "#{result.inspect}\n#{@trouble.inspect}"
	end

	def assert_delay(range, score, began)
		assert_operator score, :>=, began + range.begin
		assert_operator score, :<, Time.now.to_f + range.end
	end

	%i[fiber thread].each do |lane|
		define_method(:"test_ok_#{lane}") do
			seen = nil
			result = perform_with(1, "ü", {"a" => [nil]}, lane: lane) { |*arguments| sleep(0.01).then { seen = [arguments, jid] } }

			assert_outcome :ok, 1, result
			assert_equal [[1, "ü", {"a" => [nil]}], "0123456789abcdef01234567"], seen
			assert_operator result.elapsed_us, :>=, 10_000
			assert_operator result.elapsed_us, :<, 2_000_000
			assert_empty @trouble
		end

		define_method(:"test_retry_#{lane}") do
			began = Time.now.to_f
			result = run_job("InlineJobs::Raise", "bäh", lane: lane, own: {"x" => 1.5})

			assert_outcome :retry, 3, result
			assert_equal ["ArgumentError", "bäh"], [result.error_class, result.error_message]
			assert_delay 15...25, result.score, began
			assert_equal ["ArgumentError", "bäh", 0, "default", {"x" => 1.5}, true], result.job.values_at("error_class", "error_message", "retry_count", "queue", "own", "retry")
			assert result.job["failed_at"]
			refute result.job.key?("retried_at")
			assert_equal ["Job raised exception"], contexts
			assert_instance_of ArgumentError, @trouble[0][0]
			assert_empty @deaths
		end

		define_method(:"test_exit_#{lane}") do
			result = perform_with(lane: lane) { exit }

			assert_outcome :retry, 3, result
			assert_equal "SystemExit", result.error_class
		end

		# Back to the queue with it would mean: again, at once, without end.
		define_method(:"test_shutdown_that_nobody_asked_for_#{lane}") do
			over = false
			result = perform_with(lane: lane) do
				raise Sidekiq::Shutdown
			ensure
				over = true
			end

			assert_outcome :internal, 3, result
			assert_equal "Sidekiq::Shutdown", result.error_class
			assert over
			assert_empty result.payload
			assert_empty contexts
		end
	end

	def test_second_retry
		began = Time.now.to_f
		result = run_job("InlineJobs::Raise", retry_count: 1, failed_at: 1_700_000_000_000, retry_queue: "low", backtrace: 2)

		assert_outcome :retry, 3, result
		assert_equal [2, "low", 1_700_000_000_000], result.job.values_at("retry_count", "queue", "failed_at")
		assert result.job["retried_at"]
		assert_delay 31...61, result.score, began
		assert_equal 2, JSON.parse(Zlib.inflate(result.job["error_backtrace"].unpack1("m0"))).size
	end

	def test_own_delay
		began = Time.now.to_f

		assert_delay 100...110, run_job("InlineJobs::Undecided").score, began
	end

	def test_error_while_asking_for_the_delay
		began = Time.now.to_f
		result = run_job("InlineJobs::BadRetryIn")

		assert_outcome :retry, 3, result
		assert_delay 15...25, result.score, began
		assert_equal 2, @trouble.size
	end

	def test_no_retry
		[run_job("InlineJobs::Raise", retry: false), run_job("InlineJobs::Never", retry: nil)].each do |result|
			assert_outcome :discarded, 3, result
			assert_empty result.payload
			assert_equal "ArgumentError", result.error_class
		end

		assert_equal 2, @deaths.size
		refute @deaths[0][0].key?("retry_count")
		assert_equal "boom", @deaths[0][1].message
		assert_equal ["Job raised exception"] * 2, contexts
	end

	def test_dead_at_once
		began = Time.now.to_f
		result = run_job("InlineJobs::Exhausted", "gone", retry: 0)

		assert_outcome :dead, 3, result
		assert_delay 0...1, result.score, began
		assert_equal [0, "gone"], result.job.values_at("retry_count", "error_message")
		assert_equal ["0123456789abcdef01234567", "gone"], InlineJobs::Exhausted.seen
		assert_equal 1, @deaths.size
	end

	def test_dead_after_the_last_retry
		assert_outcome :dead, 3, run_job("InlineJobs::Raise", retry_count: 24, failed_at: 1_700_000_000_000)
		assert_outcome :retry, 3, run_job("InlineJobs::Raise", retry_count: 23, failed_at: 1_700_000_000_000)
		assert_equal 1, @deaths.size
	end

	def test_dead_false
		result = run_job("InlineJobs::Raise", retry: 0, dead: false)

		assert_outcome :discarded, 3, result
		assert_empty result.payload
		assert_equal 1, @deaths.size
	end

	def test_kill
		result = run_job("InlineJobs::Kill")

		assert_outcome :dead, 3, result
		assert_equal 1, @deaths.size
	end

	def test_discard
		result = run_job("InlineJobs::Discard")

		assert_outcome :discarded, 3, result
		assert_empty result.payload
		assert_equal ["Job raised exception"], contexts
	end

	def test_no_json
		["{", "", "\xFF\x00".b, "{\"class\":\"X\"}}"].each do |payload|
			@trouble.clear
			began = Time.now.to_f
			result = work(payload).fetch(0)

			assert_outcome :dead, 0, result
			assert_empty result.payload
			assert_equal 0, result.elapsed_us
			assert_delay 0...1, result.score, began
			assert_equal ["Invalid JSON for job"], contexts
			assert_equal payload.b, @trouble[0][1][:jobstr].b
		end

		assert_empty @deaths
	end

	def test_no_object
		["[1,2]", "2", "null", "\"text\"", "true", "false"].each do |payload|
			%i[fiber thread].each do |lane|
				@trouble.clear
				assert_outcome :internal, 0, work(payload, lane: lane).fetch(0)
				assert_equal ["Internal exception!"], contexts, payload
			end
		end
	end

	def test_missing_class
		began = Time.now.to_f
		result = run_job("NoSuchJob")

		assert_outcome :retry, 3, result
		assert_equal "NameError", result.error_class
		assert_delay 15...25, result.score, began
		assert_equal ["Job raised exception"], contexts
	end

	def test_odd_objects
		assert_outcome :discarded, 3, work("{}").fetch(0)
		assert_outcome :retry, 3, work('{"class":null,"retry":true}').fetch(0)
		assert_outcome :retry, 3, work('{"class":"Kernel","retry":true,"args":[]}').fetch(0)
		assert_outcome :retry, 3, work('{"class":"InlineJobs::Constructor","retry":true,"args":[]}').fetch(0)
		assert_outcome :retry, 3, work('{"class":["x"],"retry":true,"args":5}').fetch(0)
	end

	def test_wrong_number_of_arguments
		assert_equal "ArgumentError", run_job("InlineJobs::Raise", 1, 2, 3).error_class
	end

	def test_skip
		result = perform_with { raise Sidekiq::JobRetry::Skip }

		assert_outcome :skipped, 3, result
		assert_empty contexts
	end

	def test_handled
		assert_outcome :discarded, 3, perform_with { raise Sidekiq::JobRetry::Handled, "by the app" }
		assert_equal ["Job raised exception"], contexts
	end

	def test_error_caused_by_shutdown
		result = perform_with do
			raise Sidekiq::Shutdown
		rescue Sidekiq::Shutdown
			raise "while cleaning up"
		end

		assert_outcome :internal, 3, result
		assert_empty contexts
	end

	def test_other_exceptions
		{NotImplementedError => "NotImplementedError", NoMemoryError => "NoMemoryError", Class.new(StandardError) => "anonymous"}.each do |error, name|
			result = perform_with { raise error, "x" }

			assert_outcome :retry, 3, result
			assert_equal name, result.error_class
		end

		assert_equal "UncaughtThrowError", perform_with { throw :nowhere }.error_class
	end

	def test_messages
		assert_equal 1_000, perform_with { raise "x" * 5_000 }.error_message.bytesize
		assert_equal "é" * 500, perform_with { raise "é" * 501 }.error_message
		assert_equal "x" + "é" * 499, perform_with { raise "x" + "é" * 501 }.error_message
		assert_predicate perform_with { raise "a\xFFb".b }.error_message, :valid_encoding?
		assert_outcome :retry, 3, perform_with { raise InlineJobs::BadMessage }
	end

	def test_error_handler_that_raises
		@config.error_handlers.unshift(->(*) { raise "handler" })

		assert_outcome :retry, 3, run_job("InlineJobs::Raise")
		assert_equal ["Job raised exception"], contexts
	end

	def test_death_handler_that_raises
		@config.death_handlers.unshift(->(*) { raise "handler" })

		assert_outcome :dead, 3, run_job("InlineJobs::Raise", retry: 0)
		assert_equal 1, @deaths.size
	end

	def test_one_job_leaves_nothing_for_the_next
		results = work(Peer.payload("InlineJobs::Kill"), "{", Peer.payload("InlineJobs::Plain"), "2", Peer.payload("InlineJobs::Raise"), Peer.payload("InlineJobs::Plain"), slots: 1)

		assert_equal %i[dead dead ok internal retry ok], results.map(&:status)
		assert_equal [3, 0, 1, 0, 3, 1], results.map(&:counts)
	end

	def test_what_no_frame_can_hold
		limit = Gokiq::Sidecar::Outcome::PAYLOAD_BYTES
		entry = ->(bytes) { Gokiq::Sidecar::Outcome.detailed(1, 1, 3, 9, 1.0, "x" * bytes, ArgumentError.new("y" * 5_000)) }
		fits = entry.call(limit)
		result = Wire.results(entry.call(limit + 1)).fetch(0)

		assert_operator fits.bytesize, :<=, Gokiq::Sidecar::Frame::LIMIT_BYTES
		assert_outcome :internal, 3, result
		assert_match(/do not fit/, result.error_message)
		assert_empty result.payload
	end

	def test_no_work_is_left_in_the_state
		work(Peer.payload("InlineJobs::Plain"), Peer.payload("InlineJobs::Raise"), "2")

		assert_equal 0, Sidekiq::Processor::WORK_STATE.size
	end
end
