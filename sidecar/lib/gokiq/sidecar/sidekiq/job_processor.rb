# frozen_string_literal: true

require "sidekiq/processor"

require_relative "layers"
require_relative "../protocol/outcome"
require_relative "recorder"
require_relative "../worker/verdict"

module Gokiq
	module Sidecar
		# Runs one job after another by the rules of the application's Sidekiq, and says what each ended in instead of
		# writing it to Redis. Belongs to one slot and one capsule.
		#
		# The layers of {dispatch} are Sidekiq's, in its order; those that would do nothing for this job are left out.
		# Where the installed Sidekiq is not one we know, or someone has changed it, its own `dispatch` runs instead.
		class JobProcessor < ::Sidekiq::Processor
			# Seconds between two looks at a task that is waited for.
			LOOK_S = 1.0

			# Nothing that a task itself can raise.
			class StillWaiting < Exception
			end

			ALLOW_INTERRUPTS = {::Sidekiq::Shutdown => :immediate, JobTimeout => :immediate}.freeze

			# @parameter capsule [Sidekiq::Capsule]
			# @parameter lane [Symbol] `:fiber` or `:thread`.
			def initialize(capsule, lane)
				super(capsule)

				@fiber = lane == :fiber
				@recorder = Recorder.new
				@retrier = Retrier.new(capsule, @recorder)
				@job_log = capsule.config.logger
				@layers = Layers.new(config, @job_log, @job_logger, @reloader)
				forget_last
			end

			# @attribute [Integer] The status of the last job, as in {Outcome}.
			attr :status

			# @attribute [Integer] Its bits for `stat:*`.
			attr :counts

			# @attribute [Float] Its score.
			attr :score

			# @attribute [String] What is to be stored.
			attr :record

			# @attribute [Exception | Nil] What it raised.
			attr :error

			# Let the running job know that it is to stop at its next chance. Sidekiq's `terminate` is for the end of the process.
			def stop_soon
				@done = true
			end

			# Get ready for the next job.
			# @parameter stopping [Boolean] What `stopping?` is to answer.
			def reset(stopping)
				@done = stopping
				forget_last
			end

			# Parse a payload. Malformed ones are settled here: Sidekiq sends them to the dead set, unannotated.
			# @returns [Object | Nil] What the JSON holds; nil with {status} set if there is none.
			def parse(payload)
				::Sidekiq.load_json(payload)
			rescue => error
				handle_exception(error, {context: "Invalid JSON for job", jobstr: payload})
				settle(Outcome::DEAD, error)
				@score = Time.now.to_f
				@malformed = true
				nil
			end

			# @returns [Boolean] Whether the last {parse} found no JSON; asking clears it.
			def malformed?
				@malformed.tap { @malformed = false }
			end

			# Run a job. Nothing that it raises comes out of here.
			# @parameter job_hash [Object] The parsed payload.
			# @parameter payload [String] The bytes.
			# @parameter queue [String] Name without prefix.
			# @parameter verdict [Verdict | Nil] What it fails with instead of running.
			def call(job_hash, payload, queue, verdict = nil)
				if verdict && Hash === job_hash
					@error_instead = verdict.error
					payload = @retrier.condemn(job_hash) if verdict.final
				end

				judge(job_hash, payload) do
					if @fiber
						perform(job_hash, payload, queue)
					else
						Thread.handle_interrupt(ALLOW_INTERRUPTS) { perform(job_hash, payload, queue) }
					end
				end
			ensure
				@retrier.acquit if verdict
			end

			private

			def forget_last
				@reached = @failed = false
				@error = @error_instead = nil
				@score = 0.0
				@record = ""
				@recorder.reset
			end

			# Run a block and settle by what comes out of it. Returns the status.
			def judge(job_hash, payload)
				yield
				settle(Outcome::OK, nil)
			rescue ::Sidekiq::Shutdown => error
				settle(Outcome::SHUTDOWN, error)
			rescue JobTimeout => error
				# It came too late to fail the job by the rules, or too early.
				settle(Outcome::SHUTDOWN, error)
			rescue ::Sidekiq::JobRetry::Skip => error
				settle(Outcome::SKIPPED, error)
			rescue ::Sidekiq::JobRetry::Handled => error
				cause = error.cause || error
				handle_exception(cause, {context: "Job raised exception", job: job_hash})
				settle(Outcome::DISCARDED, cause)
			rescue Exception => error
				handle_exception(error, {context: "Internal exception!", job: job_hash, jobstr: payload})
				settle(Outcome::INTERNAL, error)
			end

			def perform(job_hash, payload, queue)
				dispatch(job_hash, queue, payload) do |instance|
					@layers.fresh.server_middleware.invoke(instance, job_hash, queue) do
						raise @error_instead if @error_instead

						execute_job(instance, job_hash["args"])
					end
				end
			end

			def dispatch(job_hash, queue, payload, &block)
				layers = @layers.fresh
				return super unless layers.known && Hash === job_hash && !job_hash["profile"]

				@job_logger.prepare(job_hash) do
					@retrier.global(payload, queue) do
						if layers.silent && !@job_log.info?
							unlogged { count(job_hash, queue, payload, &block) }
						else
							@job_logger.call(job_hash, queue) { count(job_hash, queue, payload, &block) }
						end
					end
				end
			end

			# What Sidekiq's job logger does where no line of it would be seen: handlers find a failure's seconds in the context.
			def unlogged
				started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
				yield
			rescue Exception
				::Sidekiq::Context.add(:elapsed, (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started).round(3))
				raise
			end

			def count(job_hash, queue, payload, &block)
				stats(payload, queue) do
					if @layers.reloads
						@reloader.call { instantiate(job_hash, queue, payload, &block) }
					else
						instantiate(job_hash, queue, payload, &block)
					end
				end
			end

			def instantiate(job_hash, queue, payload)
				instance = Object.const_get(job_hash["class"]).new
				instance.jid = job_hash["jid"]
				instance._context = self
				@retrier.local(instance, payload, queue) { yield instance }
			end

			# An `Async` block outside of a reactor returns when all of it is done. Inside of ours it returns at once, so
			# what a job has started is waited for here, where its middleware and its retry rules still hold.
			def execute_job(instance, arguments)
				super
			rescue ::Sidekiq::Shutdown, JobTimeout
				each_child(&:stop)
				raise
			rescue SystemExit => error
				pass_on(error)
				raise
			ensure
				await_children
			end

			# An `exit` in another thread that has hit this job is not its own. The reactor ends, and cuts this job, too.
			def pass_on(error)
				Fiber.scheduler.detonate(error) if @fiber && error.from_elsewhere?
			end

			# Where `Async` makes its own reactor, that one returns when all tasks are done, and stops the transient ones.
			def await_children
				return unless @fiber && (task = Async::Task.current).children

				await_below(task)

				each_child do |child|
					child.stop
					await(child)
				end
			rescue ::Sidekiq::Shutdown, JobTimeout
				each_child(&:stop)
				raise
			end

			# A task that has ended stays for as long as one that it has started goes on.
			def await_below(task)
				task.children&.to_a&.each do |child|
					next if child.transient?

					await(child)
					await_below(child)
				end
			end

			def each_child(&block)
				Async::Task.current.children&.to_a&.each(&block) if @fiber
			end

			# As outside of a reactor, the error of a task that nobody waited for does not fail the job. Whoever waits for a task whose
			# fiber was killed is never told, so this looks now and then.
			def await(child)
				Fiber.scheduler.with_timeout(LOOK_S, StillWaiting) { child.wait }
			rescue StillWaiting
				retry if child.alive?
			rescue StandardError => error
				handle_exception(error, {context: "Exception in an Async task of a job"})
			end

			# Sidekiq counts in constants that its heartbeat empties. No heartbeat runs here, so each job keeps its own; what
			# runs {WorkState} knows. What somebody has put around Sidekiq's way of doing it is called all the same.
			def stats(payload, queue, &block)
				@layers.known ? reach(&block) : super(payload, queue) { reach(&block) }
			end

			def reach
				@reached = true
				yield
			rescue Exception
				@failed = true
				raise
			end

			def settle(status, error)
				@counts = (@reached ? Outcome::PROCESSED : 0) | (@failed ? Outcome::FAILED : 0)
				@error = error

				if @recorder.set && (status == Outcome::DISCARDED || status == Outcome::SKIPPED || status == Outcome::OK)
					status = @recorder.set == "dead" ? Outcome::DEAD : Outcome::RETRY
					@score = @recorder.score
					@record = @recorder.payload
				end

				@status = status
			end
		end
	end
end
