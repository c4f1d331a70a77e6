# frozen_string_literal: true

require "minitest/autorun"
require "gokiq/sidecar/app/stack"
require "support/with_root"

# What is said of stacks that are smaller than Sidekiq's.
class StackTest < Minitest::Test
	include WithRoot

	SMALL = {thread_vm_stack_size: 1_048_576, thread_machine_stack_size: 1_048_576, fiber_vm_stack_size: 131_072, fiber_machine_stack_size: 524_288}.freeze
	SAID = "jobs can recurse less deeply in fibers than in Sidekiq's threads; set RUBY_FIBER_VM_STACK_SIZE=1048576 " \
		"RUBY_FIBER_MACHINE_STACK_SIZE=1048576 where the sidecar is started"

	def advice(params, env = {})
		Gokiq::Sidecar::Stack.advice(params, env)
	end

	def test_only_what_is_small_is_said
		assert_equal SAID, advice(SMALL)
		assert_nil advice(SMALL.merge(fiber_vm_stack_size: 1_048_576, fiber_machine_stack_size: 2_097_152))
		assert_match(/set RUBY_FIBER_VM_STACK_SIZE=1048576 where/, advice(SMALL.merge(fiber_machine_stack_size: 1_048_576)))
		assert_nil advice({})
	end

	def test_the_users_own_value_is_left_alone
		assert_nil advice(SMALL, {"RUBY_FIBER_VM_STACK_SIZE" => "1", "RUBY_FIBER_MACHINE_STACK_SIZE" => "1"})
	end

	def test_a_sidecar_that_somebody_else_starts_says_so_at_boot
		sizes = {"RUBY_FIBER_VM_STACK_SIZE" => "1048576", "RUBY_FIBER_MACHINE_STACK_SIZE" => "1048576"}
		assert_includes start(env: sizes.transform_values { nil }).log, SAID
		refute_includes start(env: sizes).log, "recurse"
	end
end
