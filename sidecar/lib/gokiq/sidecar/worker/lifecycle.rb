# frozen_string_literal: true

require "sidekiq"
require "sidekiq/component"

require_relative "one_worker"

module Gokiq
	module Sidecar
		# Sidekiq's lifecycle events, fired in a worker in Sidekiq's order, each once but for `beat`.
		class Lifecycle
			include ::Sidekiq::Component

			# Where Sidekiq's own handlers are written; its metrics are made of two.
			OWN = "#{::Sidekiq.method(:load_json).source_location.first.delete_suffix(".rb")}/"

			# @parameter config [Sidekiq::Config]
			# @parameter events [Symbol] Which of the application's handlers are for one worker: `:one` all, `:every` none, `:auto`
			# those that {OneWorker} tells.
			def initialize(config, events: :every)
				@config = config
				@events = events
				@fired = {}
				@turns = Mutex.new
				@lasts = false
				@aside = Hash.new { |aside, event| aside[event] = [] }
				@alone = []
				@turn = OneWorker::Turn.new { |what, handler| lasts(what, handler) }
			end

			# @attribute [Sidekiq::Config]
			attr :config

			# @attribute [Array(Array)] Capsule and queue, of those that a handler has added which runs in one worker alone.
			attr :alone

			# @returns [Boolean] Whether there may be something that one worker alone is to do.
			def shares?
				@events != :every && lists.each_value.any? { |handlers| handlers.any? { |handler| !own?(handler) } }
			end

			# Put aside what is another worker's.
			def stand_by
				@order = lists.transform_values(&:dup)
				lists.each_key { |event| put_aside(event) { |handler| single?(handler) } }
			end

			# What was put aside is this worker's from now on. Does nothing in a worker that is on its way out.
			# @returns [Boolean] Whether it is.
			def take_over
				@turns.synchronize do
					next false if @fired[:quiet]

					@turn.lead
					@aside.each { |event, handlers| lists[event] = in_order(event, lists[event] + handlers) unless @fired[event] && event != :startup }
					@aside.clear
					fire_startup if @fired[:startup]
					true
				end
			end

			# @returns [Boolean] Whether all that is for one worker alone has ended. Ports that are open end with the process, and
			# so does what nobody knows.
			def handed_over?
				@fired[:shutdown] && !@lasts
			end

			# Before the first job. What a handler raises ends the worker.
			def startup
				once(:startup) { @turns.synchronize { fire_startup } }
			end

			# Every ten seconds; the first one is a `heartbeat` too. Metrics are written here, by Sidekiq itself.
			def beat
				once(:heartbeat) { fire_event(:heartbeat) }
				fire_event(:beat, oneshot: false)
			end

			# No new job will come. Returns when all handlers have, whoever has called them.
			def quiet
				@turns.synchronize do
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

			def lists
				config[:lifecycle_events]
			end

			# Each handler knows its turn: one that begins what another worker does already ends there, and waits.
			def fire_startup
				lists[:startup] = lists[:startup].map { |handler| -> { start(handler) } }
				fire_event(:startup, reverse: false, reraise: true)
			end

			def start(handler)
				@lasts = true if single?(handler) && !OneWorker.gem_of(handler)&.ends
				before = queues
				done = @events == :auto ? @turn.call(handler) : (handler.call || true)
				return wait_for_turn(handler) unless done

				keep_alone(handler, queues - before) if single?(handler)
			end

			def lasts(what, handler)
				# Of a known gem we know it.
				return if single?(handler)

				@lasts = true
				logger.info { "gokiq: a startup handler (#{place(handler)}) #{what}: it runs in one worker at a time" }
			end

			# Where all of a file's `startup` handlers wait, so do its others.
			def wait_for_turn(handler)
				@aside[:startup] << handler
				file = handler.source_location.first
				of_file = @order[:startup].select { |other| other.source_location&.first == file }
				return unless (of_file - @aside[:startup]).empty?

				(lists.keys - [:startup]).each { |event| put_aside(event) { |other| other.source_location&.first == file } }
			end

			def put_aside(event)
				aside, lists[event] = lists[event].partition { |handler| yield handler }
				@aside[event].concat(aside)
			end

			# As they were registered; what has come since is last.
			def in_order(event, handlers)
				known = @order.fetch(event, [])
				(known & handlers) + (handlers - known)
			end

			# No other worker could be given a job of theirs.
			def keep_alone(handler, added)
				return if added.empty?

				@alone |= added
				logger.warn { "gokiq: #{place(handler)} adds the queues #{added.map(&:last).join(", ")} in one worker alone: their jobs do not run here; name them in Sidekiq's configuration" }
			end

			def queues
				config.capsules.flat_map { |name, capsule| capsule.queues.uniq.map { |queue| [name, queue] } }
			end

			def place(handler)
				handler&.source_location&.join(":")
			end

			def single?(handler)
				return false if own?(handler)

				@events == :one || (@events == :auto && !OneWorker.gem_of(handler).nil?)
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
