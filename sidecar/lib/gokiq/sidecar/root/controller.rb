# frozen_string_literal: true

require "async/service/controller"

module Gokiq
	module Sidecar
		# Runs services whose application is loaded and warmed up before the fork, and drains them once when told to stop.
		class Controller < Async::Service::Controller
			# Asks for one more worker, for jobs that are to run alone. By default processes ignore it.
			SOLO = "URG"

			# @parameter services [Array] Started already. Each says to its container how long a stop may take.
			# @parameter policy [Async::Container::Policy] What to do about workers that crash.
			def initialize(services, policy, **options)
				super(services, **options)

				@policy = policy
				services.each { |service| service.forks_more = true if service.respond_to?(:forks_more=) }
			end

			# Fork one more worker whenever the orchestrator asks for it.
			def run
				root = Thread.current
				before = Signal.trap(SOLO) { root.raise(SignalException.new(SOLO)) if @container && !@stopping }
				trap(Signal.list[SOLO]) { @services.each { |service| service.add_solo(@container) if service.respond_to?(:add_solo) } }

				super
			ensure
				Signal.trap(SOLO, before || "DEFAULT")
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
				@stopping = true
				%i[INT TERM].each { |name| Signal.trap(name, "IGNORE") }

				super
			end
		end
	end
end
