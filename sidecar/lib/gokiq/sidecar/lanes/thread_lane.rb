# frozen_string_literal: true

require "async"

require_relative "slot"

module Gokiq
	module Sidecar
		# A job, or somebody else, has ended the thread that it ran in.
		class ThreadKilled < Error
		end

		# Runs jobs in real threads, as Sidekiq does. Threads are made when they are needed and kept.
		class ThreadLane
			# What comes between two jobs waits until one says that it may be raised.
			BETWEEN_JOBS = JobProcessor::ALLOW_INTERRUPTS.transform_values { :never }.freeze

			# @parameter size [Integer] The most threads.
			# @parameter priority [Integer] Of the threads.
			# @parameter state [State] Of the worker.
			# @parameter workload [Workload] Told in the reactor of each job and its entry.
			def initialize(size, priority, state, workload)
				@size = size
				@priority = priority
				@state = state
				@workload = workload
				@queue = Thread::Queue.new
				@done = Thread::Queue.new
				@threads = 0
				@open = 0
			end

			# Start in the current task.
			# @parameter parent [Async::Task] Of the fiber that brings the outcomes back into the reactor.
			def start(parent: Async::Task.current)
				parent.async(transient: true, annotation: "gokiq thread lane") do
					while (job, entry = @done.pop)
						settle(job, entry)
					end
				end
			end

			# Take a job.
			# @parameter job [Job]
			def push(job)
				@open += 1
				@queue << job
				spawn if @open > @threads && @threads < @size
			end

			# Take back what has not started.
			# @returns [Array(Job)]
			def clear
				jobs = []
				while (job = poll)
					jobs << job
				end
				@open -= jobs.size
				jobs
			end

			# Take back one job that has not started.
			def withdraw(job)
				jobs = clear
				found = jobs.delete(job)
				jobs.each { |other| push(other) }
				found
			end

			private

			def poll
				@queue.pop(true)
			rescue ThreadError
				nil
			end

			def settle(job, entry)
				if entry
					@open -= 1
					@workload.report(job, entry)
				else
					@threads -= 1
					spawn if @open > @threads && @threads < @size
				end
			end

			def spawn
				@threads += 1

				thread = Thread.new do
					# It begins with a copy of what the fiber keeps that makes it; Sidekiq's begin with nothing.
					Fiber.current.storage&.each_key { |key| Fiber[key] = nil }
					Thread.handle_interrupt(BETWEEN_JOBS) { take_jobs(ThreadSlot.new(@state)) }
				ensure
					@done << [nil, nil]
				end

				thread.priority = @priority
				thread.report_on_exception = false
			end

			def take_jobs(slot)
				slot.enter

				while (job = @queue.pop)
					Thread.current.name = "sidekiq.#{job.route.capsule.name}/processor"
					attempt(slot, job)
					break if slot.spent?
				end
			end

			def attempt(slot, job)
				entry = run(slot, job)
			ensure
				@done << [job, entry || killed(job)]
			end

			def killed(job)
				counts = Outcome::PROCESSED | Outcome::FAILED
				Outcome.detailed(job.number, Outcome::INTERNAL, counts, 0, 0.0, "", ThreadKilled.new("the job's thread was ended in the middle of it"))
			end

			def run(slot, job)
				slot.accept(job)
				slot.perform(slot.prepare)
			rescue Exception => error
				Outcome.detailed(job.number, Outcome::INTERNAL, 0, 0, 0.0, "", error)
			ensure
				slot.release
			end
		end

		# A slot in a thread.
		class ThreadSlot < Slot
			# @parameter state [State] Of the worker.
			def initialize(state)
				super(:thread, state)

				@lock = Mutex.new
			end

			# Remember the thread.
			def enter
				super
				@thread = Thread.current
			end

			# @returns [Array(String) | Nil] Where the job stands.
			def trace
				@thread&.backtrace
			end

			# Raise `Sidekiq::Shutdown` in a job.
			# @parameter job [Job] Only if it still runs here.
			def shut_down(job)
				@lock.synchronize { cut && @thread.raise(::Sidekiq::Shutdown) if @job.equal?(job) }
			end

			# Raise {JobTimeout} in a job.
			# @parameter job [Job] Only if it still runs here.
			def time_out(job, message)
				@lock.synchronize { cut && @thread.raise(JobTimeout.new(message)) if @job.equal?(job) }
			end

			# A shutdown that came too late for this job must not meet the next one.
			def release
				@lock.synchronize { super }
				Thread.handle_interrupt(JobProcessor::ALLOW_INTERRUPTS) { Thread.pass } if Thread.pending_interrupt?
			rescue ::Sidekiq::Shutdown, JobTimeout
				# It has met nothing.
			end
		end
	end
end
