# frozen_string_literal: true

require "sidekiq"
require "sidekiq/component"

module Gokiq
	module Sidecar
		# Sidekiq's lifecycle events, fired in a worker in Sidekiq's order, each once but for `beat`.
		class Lifecycle
			include ::Sidekiq::Component

			# Where Sidekiq's own handlers are written; its metrics are made of two.
			OWN = "#{::Sidekiq.method(:load_json).source_location.first.delete_suffix(".rb")}/"

			# @parameter config [Sidekiq::Config]
			def initialize(config)
				@config = config
				@fired = {}
				@quieting = Mutex.new
				@aside = nil
			end

			# @attribute [Sidekiq::Config]
			attr :config

			# Put the application's handlers aside: they are another worker's.
			def stand_by
				@aside = config[:lifecycle_events].transform_values(&:dup)
				config[:lifecycle_events].each_value { |handlers| handlers.select! { |handler| own?(handler) } }
			end

			# They are this worker's from now on. Does nothing in a worker that is on its way out.
			def take_over
				return if @aside.nil? || @fired[:quiet]

				@aside.each { |event, handlers| config[:lifecycle_events][event] = handlers unless @fired[event] && event != :startup }
				@aside = nil
				fire_event(:startup, reverse: false, reraise: true) if @fired[:startup]
			end

			# Before the first job. What a handler raises ends the worker.
			def startup
				once(:startup) { fire_event(:startup, reverse: false, reraise: true) }
			end

			# Every ten seconds; the first one is a `heartbeat` too. Metrics are written here, by Sidekiq itself.
			def beat
				once(:heartbeat) { fire_event(:heartbeat) }
				fire_event(:beat, oneshot: false)
			end

			# No new job will come. Returns when all handlers have, whoever has called them.
			def quiet
				@quieting.synchronize do
					once(:quiet) { fire_event(:quiet, reverse: true) }
				end
			end

			# Jobs may still be running.
			def shutdown
				once(:shutdown) do
					quiet
					fire_event(:shutdown, reverse: true)
				end
			end

			# The last one.
			def exit
				once(:exit) do
					write_metrics
					fire_event(:exit, reverse: true) if config[:lifecycle_events].key?(:exit)
				end
			end

			private

			# Those of the last seconds; Sidekiq 8 does the same on `exit`, 7 loses them. For the application it is no beat.
			def write_metrics
				config[:lifecycle_events][:beat].each { |handler| handler.call if own?(handler) }
			rescue => error
				handle_exception(error, {context: "Exception during Sidekiq lifecycle event.", event: :beat})
			end

			def own?(handler)
				handler.source_location&.first.to_s.start_with?(OWN)
			end

			def once(event)
				return if @fired[event]

				@fired[event] = true
				yield
			end
		end

		# What `Sidekiq::CLI.instance.launcher` is here: third-party code asks it whether the process is stopping. What it is
		# told holds for the orchestrator and all of its workers, which are one process to Sidekiq.
		class Launcher
			# @parameter state [State] Of the worker.
			# @parameter orchestrator [Integer | Nil] Its pid; nil if it has not started us.
			def initialize(state, orchestrator)
				@state = state
				@orchestrator = orchestrator
			end

			# @returns [Boolean]
			def stopping?
				@state.quiet?
			end

			# Ask for no more jobs.
			def quiet
				order(:TSTP)
			end

			# Ask for the end.
			def stop
				order(:TERM)
			end

			private

			# One who connects from elsewhere cannot be told; then this worker leaves.
			def order(signal)
				@orchestrator ? Process.kill(signal, @orchestrator) : Process.kill(:TERM, Process.pid)
			rescue Errno::ESRCH
				# It is gone, and so will we be.
			end
		end
	end
end
