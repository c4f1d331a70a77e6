# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# Processes whose parent is gone before they could look.
class OrphanTest < Minitest::Test
	include WithRoot

	def test_a_root_whose_orchestrator_is_gone_already_ends
		gone = spawn("true")
		Process.wait(gone)
		root = launch(env: {"GOKIQ_PARENT_PID" => gone.to_s})

		assert_equal 1, root.await_exit
	end

	def test_a_root_that_a_script_has_started_ends_with_the_orchestrator
		orchestrator = spawn("sleep", "60")
		root = start(env: {"GOKIQ_PARENT_PID" => orchestrator.to_s})
		root.greet
		Process.kill(:KILL, orchestrator)
		Process.wait(orchestrator)

		assert_equal 1, root.await_exit
	end

	def test_a_worker_whose_root_is_gone_already_ends
		require "gokiq/sidecar/worker/watchdog"

		gone = Queue.new
		workload = Struct.new(:size).new(0)
		watchdog = Gokiq::Sidecar::Watchdog.new(nil, workload, {}, parent: Process.ppid + 1, on_orphan: -> { gone << true })
		Thread.new { watchdog.send(:watch) }

		assert gone.pop(timeout: 5)
	end
end
