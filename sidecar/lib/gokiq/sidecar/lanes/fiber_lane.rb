# frozen_string_literal: true

require "async"
require "async/condition"

require_relative "../app/database"
require_relative "../sidekiq/job_log"
require_relative "fiber_slot"
require_relative "thread_variables"

module Gokiq
	module Sidecar
		# A job, or somebody else, has ended the fiber that it ran in.
		class FiberKilled < Error
		end

		# Runs jobs in a pool of fibers of the reactor. Fibers are made when they are needed and kept. A fiber takes job
		# after job; before each it makes sure that others are on their way, in case this job waits for something. How many:
		# one while jobs end without a wait, twice as many each time that one is found waiting.
		class FiberLane
			# Microseconds after which the reactor gets a turn between two jobs: it costs as much as two no-ops, and outcomes and
			# new jobs wait for it.
			TURN_US = 300

			# The most fibers that are woken at once.
			BURST = 64

			# @parameter size [Integer] The most fibers.
			# @parameter state [State] Of the worker.
			# @parameter workload [Workload] Told how each job ended, and now and then that jobs are held back.
			# @parameter database [Database | Nil] Asked before a job starts.
			def initialize(size, state, workload, database: nil)
				@size = size
				@state = state
				@workload = workload
				@database = database
				@pending = []
				@idle = []
				@count = 0
				@coming = @wanted = 0
				@burst = 1
				@spawner = nil
				@running = nil
				@models = {}.compare_by_identity
			end

			# Start in the current task.
			# @parameter parent [Async::Task] Of the pool's fibers.
			def start(parent: Async::Task.current)
				@scheduler = Fiber.scheduler
				ThreadVariables.install
				parent.async(transient: true, annotation: "gokiq fiber lane") { |task| spawn_on_demand(task) }
				parent.async(transient: true, annotation: "gokiq job log") { flush_log }
				return unless @database

				@holding = Async::Condition.new
				@database.on_release { wake unless @pending.empty? }
				parent.async(transient: true, annotation: "gokiq database") { look_after_held }
			end

			# @returns [Integer] Jobs that it runs or is to run.
			def jobs
				@pending.size + @count - @idle.size
			end

			# @returns [Integer] Jobs that have not started.
			def held
				@pending.size
			end

			# Take a job.
			# @parameter job [Job]
			def push(job)
				@pending << job
				wake if @coming < @burst
			end

			# Take back what has not started.
			# @returns [Array(Job)]
			def clear
				@pending.slice!(0, @pending.size)
			end

			# Take back one job that has not started.
			def withdraw(job)
				@pending.delete(job)
			end

			private

			def wake
				fibers = @pending.size < @burst ? @pending.size : @burst

				while @coming < fibers
					if (fiber = @idle.pop)
						@scheduler.push(fiber)
					elsif @count + @wanted < @size
						@scheduler.push(@spawner) if @wanted.zero?
						@wanted += 1
					else
						return
					end

					@coming += 1
				end
			end

			# A task runs at once where it is made. So that it is not made in the middle of a job, a fiber of its own makes it.
			def spawn_on_demand(task)
				@spawner = Fiber.current

				while true
					@scheduler.transfer

					while @wanted.positive?
						@wanted -= 1
						@count += 1
						task.async(transient: true, annotation: "gokiq job") { take_jobs(FiberSlot.new(@state, @scheduler, @workload, @models)) }
					end
				end
			end

			# Lines come out when the reactor turns next: jobs that wait for nothing share a write.
			def flush_log
				fiber = Fiber.current
				coming = false
				# It must not be in the reactor's list twice, and others flush too.
				JobLog.on_first = lambda do
					next if coming

					coming = true
					@scheduler.push(fiber)
				end

				while true
					@scheduler.transfer
					# A slow reader makes it wait here, and more lines come.
					nil while JobLog.flush
					coming = false
				end
			ensure
				JobLog.on_first = nil
			end

			def take_jobs(slot)
				job = nil
				slot.enter

				while true
					@coming -= 1
					turn_ends = Job.now + TURN_US

					while (@database.nil? || admitted?) && (job = @pending.shift)
						wake unless @coming >= @burst || @pending.empty?
						run(slot, job)
						return if slot.retired?

						if (job.finished || Job.now) > turn_ends
							@scheduler.yield
							turn_ends = Job.now + TURN_US
						end
					end

					@idle << Fiber.current
					@scheduler.transfer
				end
			ensure
				bury(job) if job && job.slot.equal?(slot) && @workload.out?(job)
				ThreadVariables.disown
				@count -= 1
				wake unless @pending.empty?
			end

			# Nothing rescues the end of a fiber.
			def bury(job)
				error = FiberKilled.new("the job's fiber was ended in the middle of it")
				counts = Outcome::PROCESSED | Outcome::FAILED
				@workload.report(job, Outcome.detailed(job.number, Outcome::INTERNAL, counts, 0, 0.0, "", error))
			end

			# The fiber that asks runs nothing itself.
			def admitted?
				return false if @pending.empty?
				return true if @database.admit?(@count - @idle.size - 1)

				@holding.signal
				false
			end

			# A connection that is given back, or the end of a job, starts the next one at once. What is left are jobs that the
			# limit holds, and connections that come back in other threads.
			def look_after_held
				while true
					@holding.wait

					until @pending.empty?
						sleep(Database::LOOK_S)
						@database.look(@count - @idle.size)
						@workload.announce
						wake unless @pending.empty?
					end
				end
			end

			def run(slot, job)
				if @running
					# What waits while others run may do so for long.
					@running.detach
					@burst = [@burst * 2, BURST].min unless @database
				end

				@running = job
				slot.accept(job)

				if job.plain? && !(ended_well = slot.run_plain(job)).nil?
					return ended_well ? @workload.done(job) : fail(slot, job)
				end

				job_hash = slot.prepare
				return if @workload.divert(job)

				if job.verdict.nil? && slot.lean?(job_hash)
					slot.run_lean(job) ? @workload.done(job) : fail(slot, job)
				else
					@workload.report(job, slot.perform(job_hash))
					slot.retire if slot.spent?
				end
			rescue ::Sidekiq::Shutdown, JobTimeout
				# It came before the job had begun, while its class was loaded.
				@workload.report(job, Outcome.plain(job.number, Outcome::REFUSED, 0, 0))
				slot.retire
			rescue Exception => error
				# Nothing of a job comes here; it is either ours or the end of the reactor, of which nothing is said.
				slot.retire

				unless StandardError === error
					job.slot = nil
					raise
				end

				@workload.report(job, Outcome.detailed(job.number, Outcome::INTERNAL, 0, 0, 0.0, "", error))
			ensure
				if @running.equal?(job)
					@running = nil
					@burst = 1
				end

				slot.release
			end

			def fail(slot, job)
				@workload.report(job, slot.failure(job))
				slot.retire if slot.spent?
			end
		end
	end
end
