# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

require "gokiq/sidecar/app/application"

# Changes of Sidekiq that have no effect here are named at boot.
class UnreachedTest < Minitest::Test
	include WithRoot

	Unreached = Gokiq::Sidecar::Unreached

	# A gem of that shape.
	module Trace
	end

	METHODS = {
		Sidekiq::Processor => %i[process process_one fetch], Sidekiq::BasicFetch::UnitOfWork => %i[acknowledge requeue],
		Sidekiq::Scheduled::Poller => %i[enqueue wait], Sidekiq::Scheduled::Enq => %i[enqueue_jobs], Sidekiq::Config => %i[redis_info],
		Sidekiq::Capsule => %i[stop], Sidekiq::Launcher => %i[flush_stats to_data],
	}.freeze

	def test_nothing_is_said_of_sidekiq_as_it_ships
		assert_nil Unreached.of
	end

	# Active Support adds to Ruby's own classes, and may have been there first.
	def test_what_ruby_gives_to_many_classes_does_not_count
		assert_equal "[]", after_all {
			Struct.class_eval("def inspect = super", "/gems/active_support/core_ext.rb")
			Gokiq::Sidecar::Fingerprint.new(Sidekiq::BasicFetch::UnitOfWork, Gokiq::Sidecar::Stock::HOMES).changed
		}
	end

	METHODS.each do |owner, names|
		names.each do |name|
			define_method("test_#{owner}_#{name}_before_the_class") do
				line = after { owner.prepend(Trace.tap { |mod| mod.define_method(name) { |*arguments, &block| super(*arguments, &block) } }) }

				assert_includes line, "#{owner}##{name} (UnreachedTest::Trace)"
			end

			define_method("test_#{owner}_#{name}_written_anew") do
				line = after { owner.class_eval("def #{name}(*) = nil", "/app/config/initializers/trace.rb", 7) }

				assert_includes line, "#{owner}##{name} (/app/config/initializers/trace.rb:7)"
			end
		end
	end

	def test_a_launcher_that_is_reopened
		assert_includes after { Sidekiq::Launcher.class_eval { def run(*) = nil } }, "Sidekiq::Launcher#run (#{__FILE__}"
	end

	def test_what_is_called_is_not_named
		assert_empty after { Sidekiq::Launcher.prepend(Module.new { def run(**) = super; def helper_of_a_gem = 1; private def beat = super }) }
		assert_empty after { Sidekiq::Processor.prepend(Module.new { private def execute_job(*) = super }) }
		assert_empty after { Sidekiq::Config.class_eval { def helper_of_a_gem = 1 } }
	end

	def test_the_line_is_in_the_log_once
		root = start(app: File.expand_path("../../../support/patched_app.rb", __dir__), workers: 2)
		2.times { root.greet }

		assert_equal 1, root.log.scan(/never called: .*Sidekiq::Scheduled::Poller#enqueue \(Slow\)/).size, root.log
	end

	def test_what_is_around_the_heartbeat_is_called_in_one_worker
		root = start(app: File.expand_path("../../../support/patched_app.rb", __dir__), workers: 2)
		peers = Array.new(2) { root.greet }
		root.note("ran")
		peers.each { |peer| peer.send(:BEAT) }
		Wait.for("both beats") { root.notes.count("event") == 2 }

		# The handlers of the leader are inside.
		beat = root.notes.grep(/beat/)
		assert_equal ["before beat", "after beat"], beat
	end

	private

	# What is done to a class stays there.
	# @returns [String]
	def after(&block)
		after_all do
			block.call
			Unreached.of
		end
	end

	# @returns [String] What the block answers.
	def after_all
		reader, writer = IO.pipe
		pid = fork do
			writer.write(yield.to_s)
			exit!(true)
		end
		writer.close
		reader.read.tap { assert_predicate Process.wait2(pid)[1], :success? }
	ensure
		reader.close
	end
end
