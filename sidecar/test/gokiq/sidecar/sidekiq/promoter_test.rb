# frozen_string_literal: true

require "minitest/autorun"
require "support/inline"
require "support/with_root"

require "gokiq/sidecar/sidekiq/promoter"

# Due jobs in the hands of the application's own client.
class PromoterTest < Minitest::Test
	include Inline
	include WithRoot

	Promoter = Gokiq::Sidecar::Promoter

	def test_an_app_without_client_middleware_needs_no_client
		assert Promoter.stock?(@config)

		add { |*, &block| block.call }
		refute Promoter.stock?(@config)
	end

	def test_other_default_options_need_the_client
		stock = Sidekiq.default_job_options
		Sidekiq.default_job_options = {"queue" => "later"}
		refute Promoter.stock?(@config)

		assert_equal [Promoter::ENQUEUED, "later"], promote(class: "A", args: []).to_a.values_at(0, 2)
	ensure
		Sidekiq.default_job_options = stock
	end

	def test_what_middleware_adds_is_in_the_payload
		seen = nil
		add do |job_class, job, queue, pool, &block|
			seen = [job_class, queue, pool.respond_to?(:with)]
			job["trace"] = "é"
			block.call
		end
		push = promote(class: "A", args: [1.5, "ü"], queue: "low", jid: "j", created_at: 5, retry: 3, x: {})

		assert_equal ["A", "low", true], seen
		assert_equal [Promoter::ENQUEUED, "low"], [push.kind, push.queue]
		job = JSON.parse(push.text)
		assert_in_delta Time.now.to_f, seconds(job.delete("enqueued_at")), 5
		assert_equal({"class" => "A", "args" => [1.5, "ü"], "queue" => "low", "jid" => "j", "created_at" => 5, "retry" => 3, "x" => {}, "trace" => "é"}, job)
	end

	def test_middleware_may_choose_another_queue
		add { |_, job, _, _, &block| block.call.merge("queue" => "other") }

		assert_equal "other", promote(class: "A", args: []).queue
	end

	def test_middleware_that_answers_nothing_drops_the_job
		add { |*| false }

		assert_equal Promoter::DROPPED, promote(class: "A", args: []).kind
	end

	def test_a_job_that_names_a_time_is_scheduled_again
		push = promote(class: "A", args: [], at: 1_795_489_135.5, enqueued_at: 1)

		assert_equal [Promoter::SCHEDULED, 1_795_489_135.5], [push.kind, push.score]
		refute_includes JSON.parse(push.text).keys, "at"
	end

	def test_middleware_that_raises_keeps_the_job_and_is_reported_once
		add { |*| raise "no\nroom" }
		push = promote(class: "A", args: [])

		assert_equal [Promoter::KEPT, "RuntimeError: no"], [push.kind, push.text]
		assert_equal ["Client middleware raised an exception for a due job"], contexts
	end

	["{bad", "", "[1]", "null", "\xFF", '{"class":"A"}', '{"args":[]}', '{"class":1,"args":[]}', '{"class":"A","args":[],"at":"x"}'].each do |member|
		define_method(:"test_#{member.inspect}_is_no_job") do
			push = Promoter.new(@config).call(member)

			assert_equal Promoter::MALFORMED, push.kind
			refute_includes push.text, "\n"
			assert_empty contexts
		end
	end

	# Of a process of its own: what is put before a method stays there.
	def test_what_is_put_around_the_pushes_of_the_client_is_called
		pid = fork do
			Sidekiq::Client.prepend(Module.new { def raw_push(payloads) = super(payloads.each { |job| job["raw"] = 1 }) })
			push = promote(class: "A", args: [], queue: "low")
			exit!(!Promoter.stock?(@config) && [push.kind, push.queue, JSON.parse(push.text)["raw"]] == [Promoter::ENQUEUED, "low", 1])
		end

		assert_predicate Process.wait2(pid)[1], :success?
	end

	def test_jobs_that_are_judged_at_the_same_time
		add { |_, job, _, _, &block| sleep(job["args"][0]) && block.call }
		promoter = Promoter.new(@config)
		pushes = Sync do |task|
			[0.02, 0.0].map { |seconds| task.async { promoter.call(JSON.generate(class: "A", args: [seconds], queue: "q#{seconds}")) } }.map(&:wait)
		end

		assert_equal %w[q0.02 q0.0], pushes.map(&:queue)
	end

	def test_client_middleware_that_a_startup_handler_adds
		root = start(app: File.expand_path("../../../support/client_app.rb", __dir__), env: {"ADDED" => "startup"})

		assert_equal "app", root.connect.await_hello["client"]
	end

	def test_client_middleware_that_is_added_later
		root = start(app: File.expand_path("../../../support/client_app.rb", __dir__), env: {"ADDED" => "job"})
		peer = root.connect
		assert_equal "stock", peer.await_hello["client"]
		peer.greet
		peer.jobs({1 => ["AddingJob"]})
		peer.results(1)
		peer.send(:BEAT)

		assert_equal [50, 1], peer.expect(:READY).unpack("NC")
	end

	%w[fiber thread].each do |lane|
		define_method(:"test_a_worker_answers_in_a_#{lane}") do
			root = start(app: File.expand_path("../../../support/client_app.rb", __dir__), env: {"GOKIQ_LANE" => lane})
			peer = root.connect
			assert_equal "app", peer.await_hello["client"]
			peer.greet
			members = [{class: "A", args: [], jid: "j"}.to_json, "{bad"]
			peer.send(:PROMOTE, [9].pack("N") + members.map { |member| [member.bytesize].pack("N") + member }.join)
			body = peer.expect(:PROMOTED)

			assert_equal 9, body.unpack1("N")
			assert_includes body, %("lane":"#{lane == "fiber" ? "main" : "other"}")
			assert_includes body, "JSON::ParserError"
		end
	end

	private

	def add(&body)
		middleware = Class.new { define_method(:call, &body) }
		@config.client_middleware { |chain| chain.add(middleware) }
	end

	def promote(item)
		Promoter.new(@config).call(JSON.generate(item))
	end

	def seconds(stamp)
		stamp.is_a?(Integer) ? stamp / 1000.0 : stamp
	end
end
