# frozen_string_literal: true

require "async/service/controller"

module Gokiq
	module Sidecar
		# Runs services whose application is loaded and warmed up before the fork, and drains them once when told to stop.
		class Controller < Async::Service::Controller
			# @parameter services [Array] Started already.
			# @parameter policy [Async::Container::Policy] What to do about workers that crash.
			def initialize(services, policy, **options)
				super(services, **options)

				@policy = policy
			end

			# @returns [Async::Container::Policy]
			def make_policy
				@policy
			end

			# From here on a worker that cannot start is no reason to give up.
			def start
				super
				@policy.served!
			end

			# Done before the fork, where the pages are still shared.
			def warmup
			end

			# Drain the workers. A second signal would cut that short, so there is none.
			def stop(...)
				%i[INT TERM].each { |name| Signal.trap(name, "IGNORE") }

				super
			end
		end
	end
end
