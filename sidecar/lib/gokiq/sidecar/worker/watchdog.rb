# frozen_string_literal: true

require_relative "enforcer"
require_relative "../sidekiq/job_log"

module Gokiq
	module Sidecar
		# A thread that goes on when the reactor stands still: it reports, and it ends the worker when its parent is gone.
		class Watchdog
			INTERVAL_S = 0.5

			# A reactor that has not turned for so long is stalled, in milliseconds.
			STALL_MS = 1_000.0

			# Frames of a stalled job that are reported.
			FRAMES = 5

			# Resident memory is read every so many beats.
			MEMORY_EVERY = 4

			# @parameter monitor [Monitor]
			# @parameter workload [Workload]
			# @parameter deadlines [Deadlines] Of the worker's jobs.
			# @parameter parent [Integer] Pid of the root, from before the fork: it may be gone already.
			# @parameter on_orphan [Proc] Called when the parent has gone.
			def initialize(monitor, workload, deadlines, parent:, on_orphan:)
				@monitor = monitor
				@workload = workload
				@deadlines = deadlines
				@enforcer = Enforcer.new(deadlines)
				@on_orphan = on_orphan
				@parent = parent
				@turned_ms = now_ms
				@beats = 0
				@rss_kb = 0
				@database = nil
			end

			# Start the thread; the current thread is the reactor's.
			def start
				@reactor = Thread.current
				@thread = Thread.new { watch }
				@thread.name = "gokiq.watchdog"
				@thread.priority = 3
				@thread.report_on_exception = false
				# The reactor shows that it turns:
				Async(transient: true, annotation: "gokiq pulse") { pulse }
			end

			# End the thread.
			def stop
				@thread&.kill
			end

			private

			def now_ms
				Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond)
			end

			def pulse
				while true
					@turned_ms = now_ms
					@enforcer.expire if @deadlines.any?
					# Here, because the thread must not wait for a pool that the reactor has locked.
					@database = @workload.database_figures
					sleep(INTERVAL_S / 2)
				end
			end

			def watch
				while true
					sleep(INTERVAL_S)
					return @on_orphan.call if Process.ppid != @parent

					beat
				end
			end

			def beat
				JobLog.flush
				lag_ms = [now_ms - @turned_ms - INTERVAL_S * 500, 0.0].max
				enforce(lag_ms) if @deadlines.any?
				@rss_kb = resident_kb if (@beats % MEMORY_EVERY).zero?
				@beats += 1
				@monitor.call("beat", busy: @workload.size, lag_ms: lag_ms.round, rss_kb: @rss_kb, stalled: lag_ms > STALL_MS ? stalled : nil, deadline: @deadlines.first, database: @database)
			end

			def enforce(lag_ms)
				@enforcer.ask
				@enforcer.strike(@reactor) if lag_ms > STALL_MS
			end

			def stalled
				frames = @reactor.backtrace&.first(FRAMES) || []
				# A thread's locals are those of the fiber that it runs now.
				{number: @reactor[:gokiq_slot]&.job&.number, frames: frames.map { |frame| frame.byteslice(0, 300).scrub }}
			end

			def resident_kb
				Integer(File.read("/proc/self/statm").split[1]) * 4
			rescue SystemCallError, ArgumentError, TypeError
				0
			end
		end
	end
end
