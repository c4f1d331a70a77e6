# frozen_string_literal: true

require "async"
require "async/condition"

require_relative "fiber_lane"
require_relative "../protocol/frame"
require_relative "../sidekiq/job"
require_relative "reactor"
require_relative "thread_lane"

module Gokiq
	module Sidecar
		# The jobs that are out on a worker's connection, and the lanes they run in.
		class Workload
			# Priority of threads beside fibers, so that a computing job delays the reactor less. Source: measured, 15 ms
			# against 24 ms on average.
			BESIDE_FIBERS = -3

			# @parameter plan [Plan] Lane, slots and threads.
			# @parameter state [State] Of the worker.
			# @parameter priority [Integer] Of threads when all jobs run in threads.
			def initialize(plan, state, priority: 0)
				@state = state
				@jobs = {}
				@outbox = nil
				@settled = Async::Condition.new
				@declared = {}
				@plan = plan
				@finished = 0
				@announced = plan.slots

				if plan.lane == :thread
					@lanes = [@main = ThreadLane.new(plan.slots, priority, state, self)]
				else
					@threads = ThreadLane.new(plan.threads, BESIDE_FIBERS, state, self)
					@database = Database.for(plan.slots)
					@main = FiberLane.new(plan.slots, state, self, database: @database)
					@lanes = [@main, @threads]
				end
			end

			# @attribute [Outbox] Where outcomes go.
			attr_writer :outbox

			# @attribute [Integer] Jobs that have run here.
			attr :finished

			# Start the lanes in the current task.
			def start
				Fiber.scheduler.extend(Reactor).on_end { desert }
				@lanes.each(&:start)
			end

			# @returns [Integer] How many jobs are out.
			def size
				@jobs.size
			end

			# Jobs that may be out at once: a slot each, but fewer while they would only wait for the database.
			# @returns [Integer]
			def credit
				return @plan.slots unless @database

				elsewhere = [@jobs.size - @main.jobs, 0].max
				@announced = [@database.window + elsewhere, @plan.slots].min
			end

			# Only to be called in the reactor.
			# @returns [Hash | Nil] {Database#figures}, where there are fewer connections than slots.
			def database_figures
				@database&.figures(@main.held)
			end

			# Take a job.
			# @parameter job [Job]
			# @raises [ProtocolError] If its number is out already.
			def take(job)
				number = job.number
				raise ProtocolError.new(:sequence, "job #{number} is out already") if @jobs.key?(number)

				@main.push(@jobs[number] = job)
			end

			# Refuse a job that has come too late.
			def refuse(number)
				@outbox.add(Outcome.plain(number, Outcome::REFUSED, 0, 0))
			end

			# Give back everything that has not started.
			def refuse_waiting
				@lanes.flat_map(&:clear).each { |job| report(job, Outcome.plain(job.number, Outcome::REFUSED, 0, 0)) }
			end

			# Ask one job to stop.
			# @parameter number [Integer] Of a job that may be over already.
			# @parameter hard [Boolean] Whether `Sidekiq::Shutdown` is raised in it.
			def interrupt(number, hard)
				return unless (job = @jobs[number])

				if (slot = job.slot)
					hard ? slot.shut_down(job) : slot.interrupt
				elsif hard && @lanes.any? { |lane| lane.withdraw(job) }
					report(job, Outcome.plain(number, Outcome::REFUSED, 0, 0))
				end
			end

			# Walk over the running jobs. Others may come and go meanwhile.
			# @yields {|job, trace| ...} The trace is nil where it cannot be had.
			def each_running
				@jobs.values.each { |job| yield job, job.slot.trace if job.slot }
			end

			# Walk over the running jobs from any thread.
			# @yields {|job, tid, started| ...} The tid of its slot, and when it began in seconds since the epoch.
			def each_started
				now_us = Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
				now = Process.clock_gettime(Process::CLOCK_REALTIME)

				@jobs.values.each do |job|
					slot = job.slot
					started = job.started
					yield job, slot.tid, (now - (now_us - started) / 1e6).to_i if slot && started
				end
			end

			# Ask every running job to stop, because there will be no more.
			def interrupt_all
				@jobs.each_value { |job| job.slot&.quiet }
			end

			# Raise `Sidekiq::Shutdown` in every running job.
			def shut_down
				@jobs.values.each { |job| job.slot&.shut_down(job) }
			end

			# The reactor ends, whoever has ended it. That is no outcome of any job: each is cut, and nothing is reported, so they go
			# back as they came.
			def desert
				jobs = @jobs.values
				@jobs.clear
				jobs.each { |job| job.slot&.shut_down(job) }
			end

			# @returns [Boolean] Whether a job is out.
			def out?(job)
				@jobs.key?(job.number)
			end

			# Give up on what still runs: it is reported as not finished.
			def abandon
				counts = Outcome::PROCESSED | Outcome::FAILED
				@jobs.values.each { |job| report(job, Outcome.plain(job.number, Outcome::SHUTDOWN, counts, 0)) }
			end

			# Wait until no job is out.
			# @parameter seconds [Float] At most.
			# @returns [Boolean] Whether none is.
			def wait(seconds)
				deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds

				until @jobs.empty?
					left = deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC)
					return false if left <= 0

					begin
						Async::Task.current.with_timeout(left) { @settled.wait }
					rescue Async::TimeoutError
						# The loop asks the clock.
					end
				end

				true
			end

			# A job has ended.
			# @parameter entry [String] Its entry for RESULTS.
			def report(job, entry)
				return unless @jobs.delete(job.number)

				@finished += 1
				@outbox.add(entry)
				@settled.signal if @jobs.empty?
			end

			# A job has ended well.
			def done(job)
				number = job.number
				return unless @jobs.delete(number)

				@finished += 1
				@outbox.done(number, job.finished - job.started)
				@settled.signal if @jobs.empty?
			end

			# Give a parsed job to the threads if it belongs there.
			# @returns [Boolean] Whether it does.
			def divert(job)
				job_hash = job.parsed
				return false unless Hash === job_hash && threaded?(job_hash)

				job.slot = nil
				job.detach
				@threads.push(job)
				announce if @database
				true
			end

			# @parameter name [String] Of a class.
			# @parameter job_class [Class | Nil] The class itself, where it may have been replaced since it was asked for.
			# @returns [Boolean] Whether its jobs run in threads by their options.
			def threaded_class?(name, job_class = nil)
				return declare(name) if job_class

				declared = @declared[name]
				declared.nil? ? declare(name) : declared
			end

			# Tell the orchestrator when the credit has changed.
			def announce
				before = @announced
				@outbox&.push(Frame::READY, [@announced].pack("N")) if credit != before
			end

			private

			def threaded?(job_hash)
				lane = job_hash["gokiq_lane"]
				return lane == "thread" if lane

				threaded_class?(job_hash["wrapped"] || job_hash["class"])
			end

			# A class that cannot be found is looked up again by the job itself, and fails there by Sidekiq's rules.
			def declare(name)
				klass = Object.const_get(name)
				options = klass.respond_to?(:get_sidekiq_options) ? klass.get_sidekiq_options : {}
				@declared[name] = options["gokiq_lane"] == "thread"
			rescue ::Sidekiq::Shutdown, JobTimeout
				raise
			rescue Exception
				false
			end
		end
	end
end
