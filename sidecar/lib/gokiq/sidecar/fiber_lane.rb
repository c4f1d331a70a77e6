# frozen_string_literal: true

require "async"

require_relative "slot"

module Gokiq
	module Sidecar
		# Runs jobs in a pool of fibers of the reactor. Fibers are made when they are needed and kept. A fiber takes job
		# after job; before each it makes sure that another one is on its way, in case this job waits for something.
		class FiberLane
			# Jobs that a fiber takes in a row before the reactor gets a turn.
			STREAK = 32

			# @parameter size [Integer] The most fibers.
			# @parameter state [State] Of the worker.
			# @parameter report [Proc] Called with each job and its entry.
			# @parameter divert [Proc | Nil] Called with each job and its hash; true if another lane has taken it.
			def initialize(size, state, report:, divert: nil)
				@size = size
				@state = state
				@report = report
				@divert = divert
				@pending = []
				@idle = []
				@count = 0
				@waking = false
				@spawner = nil
			end

			# Start in the current task.
			# @parameter parent [Async::Task] Of the pool's fibers.
			def start(parent: Async::Task.current)
				@scheduler = Fiber.scheduler
				parent.async(transient: true, annotation: "gokiq fiber lane") { |task| spawn_on_demand(task) }
			end

			# Take a job.
			# @parameter job [Job]
			def push(job)
				@pending << job
				wake
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
				return if @waking

				if (fiber = @idle.pop)
					@waking = true
					@scheduler.push(fiber)
				elsif @count < @size
					@waking = true
					@scheduler.push(@spawner)
				end
			end

			# A task runs at once where it is made. So that it is not made in the middle of a job, a fiber of its own makes it.
			def spawn_on_demand(task)
				@spawner = Fiber.current

				while true
					@scheduler.transfer
					next unless @waking

					@count += 1
					task.async(transient: true, annotation: "gokiq job") { take_jobs(FiberSlot.new(@state, @scheduler)) }
				end
			end

			def take_jobs(slot)
				slot.enter
				streak = 0

				while true
					@waking = false

					while (job = @pending.shift)
						wake unless @pending.empty?
						run(slot, job)
						return if slot.retired?

						if (streak += 1) == STREAK
							streak = 0
							@scheduler.yield
						end
					end

					@idle << Fiber.current
					@scheduler.transfer
				end
			ensure
				@count -= 1
				wake unless @pending.empty?
			end

			def run(slot, job)
				job_hash = slot.prepare(job)

				if @divert && @divert.call(job, job_hash)
					slot.release
				else
					@report.call(job, slot.perform(job_hash))
					slot.retire if slot.spent?
				end
			rescue Exception => error
				# Nothing of a job comes here; it is either ours or the end of the reactor.
				@report.call(job, Outcome.detailed(job.number, Outcome::INTERNAL, 0, 0, 0.0, "", error))
				slot.retire
				raise unless StandardError === error
			ensure
				slot.release
			end
		end

		# A slot in a fiber.
		class FiberSlot < Slot
			# @parameter state [State] Of the worker.
			# @parameter scheduler [Async::Scheduler] Whose reactor the fiber lives in.
			def initialize(state, scheduler)
				super(:fiber, state)

				@scheduler = scheduler
				@retired = false
			end

			# Remember the fiber.
			def enter
				super
				@fiber = Fiber.current
			end

			# Raise `Sidekiq::Shutdown` in a job. Only to be called from another fiber of the same reactor.
			# @parameter job [Job] Only if it still runs here.
			def shut_down(job)
				return unless @job.equal?(job)

				# A wake-up that is already on its way to this fiber must not meet the next job.
				@retired = true
				@scheduler.raise(@fiber, ::Sidekiq::Shutdown)
			end

			# @returns [Array(String) | Nil] Where the job stands.
			def trace
				@fiber&.backtrace
			end

			# Take no more jobs.
			def retire
				@retired = true
			end

			# @returns [Boolean] Whether the fiber is to end.
			def retired?
				@retired
			end
		end
	end
end
