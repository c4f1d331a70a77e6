# frozen_string_literal: true

require "async/container/policy"

require_relative "failure"

module Gokiq
	module Sidecar
		# What the root does about workers that end. One that crashes is replaced at once, for as long as the orchestrator
		# wants it. Many crashes in a short time are replaced more slowly. Only an application whose `startup` handlers
		# raise before any worker has served ends the root, as it ends Sidekiq.
		class Policy < Async::Container::Policy
			# Crashes within the window that are replaced at once.
			BURST = 20

			# Seconds of the window.
			WINDOW_S = 10.0

			# Seconds before each further replacement.
			PAUSE_S = 0.25

			# Seconds before the replacement of a worker whose `startup` handlers have raised: the next one's will, too.
			START_PAUSE_S = 1.0

			def initialize
				super

				@crashes = []
				@served = @hopeless = false
			end

			# @attribute [Monitor | Nil] Who is told how workers ended.
			attr_writer :monitor

			# @returns [Boolean] Whether no worker could start.
			def hopeless?
				@hopeless
			end

			# All workers of a generation have started.
			def served!
				@served = true
			end

			# A worker has ended.
			def child_exit(container, child, status, **)
				tell(child, status)
				return @served = true if success?(status)
				return if container.stopping?
				return give_up(container) if status&.exitstatus == Failure::STATUS && !@served && container.state.none? { |_, state| state[:ready] }

				status&.exitstatus == Failure::STATUS ? sleep(START_PAUSE_S) : pace
			end

			private

			def tell(child, status)
				return unless @monitor && status && child.respond_to?(:pid)

				@monitor.call("exited", pid: child.pid, signal: status.termsig, status: status.exitstatus)
			end

			def give_up(container)
				@hopeless = true
				container.stop(false)
			end

			def pace
				now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
				@crashes.shift while @crashes.first && @crashes.first < now - WINDOW_S
				@crashes << now
				sleep(PAUSE_S) if @crashes.size > BURST
			end
		end
	end
end
