# frozen_string_literal: true

require "async"
require "console"

require_relative "../protocol/body"
require_relative "../root/failure"
require_relative "../root/fork_guard"
require_relative "leadership"
require_relative "lifecycle"
require_relative "../sidekiq/own_record"
require_relative "../sidekiq/promoter"
require_relative "../protocol/session"
require_relative "signals"
require_relative "state"
require_relative "../sidekiq/stock"
require_relative "../lanes/thread_variables"
require_relative "watchdog"
require_relative "../sidekiq/work_state"
require_relative "../lanes/workload"

module Gokiq
	module Sidecar
		# One forked process: greets one orchestrator at a time, runs its jobs, and leaves when it is told to or alone.
		class Worker
			# Seconds that `ensure` blocks have after `Sidekiq::Shutdown`, as in Sidekiq.
			ENSURE_S = 3.0

			# Seconds between two looks at the deadline of a drain.
			LOOK_S = 0.25

			# Of threads that run jobs, as in Sidekiq 8.
			THREAD_PRIORITY = -1

			# @parameter application [Application]
			# @parameter listener [UNIXServer] Shared with the other workers.
			# @parameter monitor [Monitor]
			# @parameter generation [Integer]
			# @parameter root [Integer] Pid of the process that has forked us.
			# @parameter workers [Integer | Nil] How many of us there are.
			# @parameter forks_more [Boolean] Whether the root forks one more when it is asked to.
			# @parameter solo [Boolean] Whether it is there for suspects of a crash.
			def initialize(application, listener, monitor, generation, root: Process.ppid, workers: nil, forks_more: true, solo: false)
				@application = application
				@listener = listener
				@monitor = monitor
				@generation = generation
				@workers = workers
				@forks_more = forks_more
				@solo = solo
				@state = State.new(Deadlines.new(application.job_timeout_s))
				@lifecycle = Lifecycle.new(application.config, events: application.events)
				@leadership = Leadership.new(application, @lifecycle, @state)
				@signals = Signals.new(application.signal_handlers)
				@workload = Workload.new(application.plan, @state, priority: thread_priority(application.config))
				@watchdog = Watchdog.new(monitor, @workload, @state.deadlines, parent: root, on_orphan: method(:orphaned))
				@session = nil
				@deadline = nil
				@greeted = @parted = @left = @stuck = false
			end

			# @attribute [Workload]
			attr :workload

			# @returns [String] For the title of the process.
			def to_s
				"jobs=#{@workload.size}/#{slots} done=#{@workload.finished}"
			end

			# The name under which Falcon's service asks for it.
			alias statistics_string to_s

			# @returns [Integer] Jobs at once.
			def slots
				@application.plan.slots
			end

			# @returns [Hash] The body of HELLO.
			def hello
				@application.hello(@generation, except: @lifecycle.alone).merge(solo: @solo, workers: @workers, forks_more: @forks_more)
			end

			# @returns [String] As in HELLO, now.
			def client
				@application.client
			end

			# @parameter name [String]
			# @returns [Sidekiq::Capsule | Nil]
			def capsule(name)
				@application.capsule(name)
			end

			# @returns [Boolean] Whether no more jobs are taken.
			def leaving?
				@state.leaving?
			end

			# Start working in the current task, as children of it.
			# @returns [Worker] Itself.
			def start
				guard_forks
				@signals.trap
				Thread.current.name = @application.thread_name if @application.plan.lane == :fiber
				WorkState.of(@workload)
				::Sidekiq::CLI.instance.launcher = Launcher.new(@state, @application.orchestrator)
				@leadership.stand
				start_up { @lifecycle.startup }
				@application.widen
				Stock.stir
				Async(transient: true, annotation: "gokiq leader") { start_up { @leadership.lead } }
				@task = Async(annotation: "gokiq worker") { work }
				self
			end

			# An orchestrator has answered.
			# @parameter session [Session] Ours with it.
			# @parameter identity [String | Nil] Its own.
			def greeted(session, identity)
				OwnRecord.take(identity, @application.config) if identity.is_a?(String)
				@workload.outbox = session.outbox
				@greeted = true
			end

			# The orchestrator's heartbeat has reached Redis. Handlers may wait for it, frames must not wait for them.
			def beat
				Stock.stir
				@session&.announce_client
				return if @left || @beat&.alive?

				@beat = Async(transient: true, annotation: "gokiq beat") { @leadership.beat }
			end

			# Ask the application's client about due jobs. Middleware may wait, frames must not wait for it.
			# @parameter token [Integer] Goes back with the answer.
			# @parameter members [Array(String)]
			# @yields {|body| ...} The body of PROMOTED.
			def promote(token, members)
				Async(transient: true, annotation: "gokiq promotion") do
					ThreadVariables.own
					@promoter ||= Promoter.new(@application.config)
					pushes = @application.in_lane { members.map { |member| @promoter.call(member) } }
					yield Body.promoted(token, pushes)
				ensure
					ThreadVariables.disown
				end
			end

			# No new job will come; running ones may stop at their next chance. Handlers may wait, frames must not wait for them.
			def quiet
				@state.quiet!
				@workload.interrupt_all

				Async(transient: true, annotation: "gokiq quiet") do
					@signals.call(:TSTP)
					@leadership.quiet
				end
			end

			# Let running jobs end, then leave. Asking again can only shorten their time.
			# @parameter grace_s [Float] Seconds until they are made to.
			def drain(grace_s)
				@deadline = [@deadline, now + grace_s].compact.min
				return if @state.leaving?

				@state.leave!
				# Below the worker's own task, whoever asks: what is below a transient one ends with the connection.
				@task.async(annotation: "gokiq drain") { finish }
			end

			private

			def shut_down
				@signals.call(:TERM)
				@leadership.shut_down
			end

			# Sidekiq ends the process when a handler raises. So does this worker; its root judges whether to go on.
			def start_up
				yield
			rescue Exception => error
				@monitor.call("boot_failed", root: Process.ppid, **Failure.new(error, "a startup handler: ", roots: @application.folders).to_h)
				$stdout.flush
				exit!(Failure::STATUS)
			end

			# Sidekiq 7 has no setting for it and leaves its threads as they are.
			def thread_priority(config)
				config.respond_to?(:thread_priority) ? config.thread_priority || THREAD_PRIORITY : 0
			end

			def work
				@workload.start
				Fiber.scheduler.on_failure { |error| collapse(error) }
				@watchdog.start
				Async(transient: true, annotation: "gokiq signals") { watch_signals }
				accept until @state.leaving?
			end

			def accept
				socket = @listener.accept
				return socket.close if @state.leaving?

				@session = Session.new(socket, self)
				@session.run
				@session = nil
				# One that has not even answered HELLO was no orchestrator, or it has changed its mind.
				lost if @greeted && !@parted
			rescue SystemCallError, IOError => error
				raise unless @state.leaving?
				Console.debug(self, error)
			end

			# The orchestrator went without a word. Whoever owns the claims gives the jobs back; what runs here is cut.
			def lost
				reason = "the orchestrator is gone"
				@state.leave!
				@workload.refuse_waiting
				@workload.shut_down

				unless @workload.wait(ENSURE_S)
					# They may run elsewhere by now: no handler is to keep them going here.
					@monitor.call("exiting", reason: reason)
					exit_hard
				end

				attend(Async(annotation: "gokiq shutdown") { shut_down })
				leave(reason)
			end

			# The grace counts from here, however long the application's handlers take.
			def finish
				@session&.leave
				@state.quiet!
				@workload.refuse_waiting
				@workload.interrupt_all
				events = Async(annotation: "gokiq shutdown") { shut_down }

				unless wait_until_deadline
					@workload.shut_down
					(@stuck = !@workload.wait(ENSURE_S)) && @workload.abandon
				end

				@parted = true
				@session&.goodbye
				attend(events)
				leave("drained")
			end

			# The deadline may come nearer meanwhile.
			def wait_until_deadline
				while (left = @deadline - now).positive?
					return true if @workload.wait([left, LOOK_S].min)
				end

				@workload.size.zero?
			end

			def now
				Process.clock_gettime(Process::CLOCK_MONOTONIC)
			end

			# Sidekiq waits for its handlers as long as it takes; here they hold up a worker's end for so long at most.
			def attend(events)
				Async::Task.current.with_timeout(ENSURE_S) { events.wait }
			rescue Async::TimeoutError
				@application.config.logger.warn { "gokiq: a lifecycle handler takes longer than #{ENSURE_S} s, the worker ends without it" }
			end

			# Exit: `at_exit` blocks run, unless a job is stuck; neither holds it up for long.
			def leave(reason)
				return if @left

				@left = true
				# It has taken the metrics and may not have written them yet.
				attend(@beat) if @beat
				@leadership.stop
				@lifecycle.shutdown
				@lifecycle.exit
				@monitor.call("exiting", reason: reason)
				@watchdog.stop
				exit_hard if @stuck || @workload.size.positive?
				Thread.new do
					sleep(ENSURE_S)
					exit_hard
				end
				# The container ends a process for this without an error, and for `SystemExit` with one.
				raise Interrupt
			end

			# Somebody has ended the reactor, and with it the worker. Jobs have been cut. Nothing is said of them, and the connection ends without
			# a word: should the same job do so again, it runs alone.
			def collapse(error)
				status = SystemExit === error ? error.status : 1
				what = SystemExit === error ? "exit(#{status}) was called in a thread" : "#{error.class}: #{error.message}"
				@left = true
				@application.config.logger.error { "gokiq: #{what}, the worker ends" }
				@watchdog.stop
				Thread.new do
					sleep(ENSURE_S)
					$stdout.flush
					exit!(status)
				end
				# First of all such blocks; the application's run after it.
				at_exit { exit(status) }
			end

			def exit_hard
				$stdout.flush
				exit!(0)
			end

			def orphaned
				@monitor.call("exiting", reason: "the sidecar's root is gone")
				exit!(1)
			end

			def guard_forks
				ForkGuard.install
				ForkGuard.own(@listener)
				# Lines come before what the child writes.
				ForkGuard.before_fork { JobLog.flush }
				ForkGuard.on_fork { JobLog.forget }
			end

			def watch_signals
				@signals.each do |order|
					case order
					when "T" then @session ? drain(@application.drain_s) : drain(0.0)
					when "Q" then quiet
					when "D" then dump
					end
				end
			end

			# As Sidekiq does for TTIN: what every thread is doing, and here what every job's fiber is.
			def dump
				logger = @application.config.logger

				Thread.list.each do |thread|
					logger.warn { "Thread TID-#{(thread.object_id ^ Process.pid).to_s(36)} #{thread.name}" }
					logger.warn { thread.backtrace ? thread.backtrace.join("\n") : "<no backtrace available>" }
				end

				@workload.each_running do |job, trace|
					logger.warn { "Job #{job}\n#{trace&.join("\n")}" }
				end
			end
		end
	end
end
