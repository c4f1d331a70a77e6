# frozen_string_literal: true

require "minitest/autorun"
require "gokiq/sidecar/root/policy"

# What the root does about workers that end.
class PolicyTest < Minitest::Test
	Status = Struct.new(:exitstatus) do
		def success?
			exitstatus == 0
		end
	end

	# As much of a container as a policy asks for.
	class Container
		def initialize(*states)
			@state = states.each_with_index.to_h { |state, index| [index, state] }
			@stopping = false
		end

		attr :state

		def stop(_graceful)
			@stopping = true
		end

		def stopping?
			@stopping
		end
	end

	# Remembers its pauses.
	class Policy < Gokiq::Sidecar::Policy
		def pauses
			@pauses ||= []
		end

		def sleep(seconds)
			pauses << seconds
		end
	end

	CANNOT_START = Gokiq::Sidecar::Failure::STATUS

	def setup
		@policy = Policy.new
	end

	def exit_of(status, container = Container.new)
		@policy.child_exit(container, nil, Status.new(status), name: "gokiq", key: nil)
		container
	end

	def test_a_worker_that_cannot_start_ends_the_root
		assert_predicate exit_of(CANNOT_START, Container.new({})), :stopping?
		assert_predicate @policy, :hopeless?
	end

	def test_not_while_another_one_has_started
		refute_predicate exit_of(CANNOT_START, Container.new({}, {ready: true})), :stopping?
		refute_predicate @policy, :hopeless?
	end

	def test_not_once_all_had_started
		@policy.served!

		refute_predicate exit_of(CANNOT_START), :stopping?
	end

	def test_crashes_never_end_the_root
		statuses = Array.new(100) { exit_of([1, nil].sample) }

		assert_empty statuses.select(&:stopping?)
		refute_predicate @policy, :hopeless?
	end

	def test_many_crashes_are_replaced_more_slowly
		Policy::BURST.times { exit_of(1) }
		assert_empty @policy.pauses

		3.times { exit_of(1) }
		assert_equal [Policy::PAUSE_S] * 3, @policy.pauses
	end

	def test_workers_that_leave_are_replaced_at_once
		(Policy::BURST * 2).times { exit_of(0) }

		assert_empty @policy.pauses
	end
end
