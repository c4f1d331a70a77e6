# frozen_string_literal: true

require_relative "job_log"
require_relative "job_processor"
require_relative "meter"

module Gokiq
	module Sidecar
		# Runs the jobs of fibers without the layers that come to nothing for them. What is left out comes back when a job
		# raises: its error is raised again inside of Sidekiq's own retry code, so that the rules stay Sidekiq's.
		#
		# Left out, with what must hold for it: the job logger, while no line of it would be seen; closures around each layer;
		# the work state, which {WorkState} answers from the jobs themselves; Sidekiq's metrics, which {Meter} keeps.
		class LeanProcessor < JobProcessor
			# Fields that ask for a layer which is left out.
			LAYERED = %w[profile log_level display_class].freeze

			# @parameter capsule [Sidekiq::Capsule]
			def initialize(capsule)
				super(capsule, :fiber)
			end

			# A copy for another slot.
			def initialize_copy(*)
				super

				@recorder = Recorder.new
				@retrier = @retrier.into(@recorder)
				@job_logger = (config[:job_logger] || ::Sidekiq::JobLogger).new(@capsule.config)
			end

			# @returns [Boolean] Whether jobs need no job logger now.
			def lean?
				@layers.fresh.possible && !@job_log.info?
			end

			# @returns [Layers::Shape | Nil] As {Layers#shape}.
			def shape(name, workload)
				@layers.shape(name, workload)
			end

			# @returns [Boolean] Whether a job asks for nothing that is left out here.
			def self.fits?(job_hash)
				Hash === job_hash && LAYERED.none? { |name| job_hash.key?(name) }
			end

			# Run a plain job. Nothing that it raises comes out of here.
			# @parameter job [PlainJob] That has been started.
			# @parameter shape [Layers::Shape] Of its class.
			# @parameter arguments [Array]
			# @parameter task [Async::Task] Of the fiber.
			# @parameter stopping [Boolean] What `stopping?` is to answer.
			# @returns [Boolean] Whether it ended well; else {status} and its fellows say how.
			def run_plain(job, shape, arguments, task, stopping)
				@done = stopping
				jid = job.jid
				Thread.current[:sidekiq_context] = Layers::JID_FIRST ? {jid: jid, class: job.name} : {class: job.name, jid: jid}
				log = shape.log
				log&.start(job.slot.tid, log_context(job))

				if (job_class = shape.job_class)
					work_plain(job, job_class, shape, arguments, task)
				else
					@reloader.call { work_plain(job, Object.const_get(job.name), shape, arguments, task) }
					job.finish
				end

				log_done(job, log) if log
				true
			rescue Exception => error
				conclude(error, job)
				false
			ensure
				Thread.current[:sidekiq_context] = nil
			end

			# Run a job whose parsed payload {LeanProcessor.fits?}. Else as {run_plain}.
			def run(job, task, stopping)
				@done = stopping
				job_hash = job.parsed
				Thread.current[:sidekiq_context] = context(job_hash)
				@layers.reloads ? @reloader.call { work(job, job_hash, task) } : work(job, job_hash, task)
				true
			rescue Exception => error
				conclude(error, job)
				false
			ensure
				Thread.current[:sidekiq_context] = nil
			end

			private

			def log_done(job, log)
				context = ::Sidekiq::Context.current
				return log.done(job.slot.tid, log_context(job), job.finished - job.started) if untouched?(context, job)

				context[:elapsed] = ((job.finished - job.started) / 1e6).round(3)
				@job_log.info { "done" }
			end

			# Whether the job has left its context as it was.
			def untouched?(context, job)
				context.size == 2 && context[:jid].equal?(job.jid) && context[:class].equal?(job.name)
			end

			def log_context(job)
				Layers::JID_FIRST ? "jid=#{job.jid} class=#{job.name}" : "class=#{job.name} jid=#{job.jid}"
			end

			def context(job_hash)
				jid = job_hash["jid"]
				name = job_hash["wrapped"] || job_hash["class"]
				context = Layers::JID_FIRST ? {jid: jid, class: name} : {class: name, jid: jid}
				@layers.attributes.each { |field, key| context[key] = job_hash[field] if job_hash.key?(field) }
				context
			end

			def work_plain(job, job_class, shape, arguments, task)
				instance = job_class.new
				instance.jid = job.jid
				instance._context = self

				begin
					instance.perform(*arguments)
					await_children if task.children
				rescue Exception => error
					fail_inside(job, instance, error, shape.chain)
				end

				shape.tally.done(job.started, job.finish)
			end

			def work(job, job_hash, task)
				instance = Object.const_get(job_hash["class"]).new
				instance.jid = job_hash["jid"]
				instance._context = self
				# Both as they are now: they may be others when the job has waited.
				chain = @layers.server_middleware
				return work_in_chain(job, job_hash, instance, chain) unless (meter = @layers.meter)

				begin
					instance.perform(*job_hash["args"])
					await_children if task.children
				rescue Exception => error
					fail_inside(job, instance, error, chain)
				end

				meter[job_hash["wrapped"] || job_hash["class"]].done(job.started, job.finish)
			end

			# The application's own middleware sees each job.
			def work_in_chain(job, job_hash, instance, chain)
				chain.invoke(instance, job_hash, job.route.queue) { execute_job(instance, job_hash["args"]) }
			rescue Exception => error
				@retrier.local(instance, job.payload, job.route.queue) { raise error }
			else
				job.finish
			end

			# What Sidekiq does between the job and its reloader.
			def fail_inside(job, instance, error, chain)
				@retrier.local(instance, job.payload, job.route.queue) do
					settle_children(error)
					chain.failed(error, instance, parsed(job), job.route.queue, job.started)
				end
			end

			def settle_children(error)
				pass_on(error) if SystemExit === error
				each_child(&:stop) if ::Sidekiq::Shutdown === error || JobTimeout === error
				await_children
			end

			# What Sidekiq does outside of its reloader. Nothing is to be forgotten: a slot whose job has raised runs no other.
			def conclude(error, job)
				@reached = @failed = true
				queue = job.route.queue

				judge(parsed(job), job.payload) do
					::Sidekiq::Context.add(:elapsed, (Process.clock_gettime(Process::CLOCK_MONOTONIC) - job.started / 1e6).round(3))
					@job_log.info { "fail" }
					@retrier.global(job.payload, queue) { raise error }
				ensure
					Thread.current[:sidekiq_context] = nil
				end
			end

			def parsed(job)
				job.parsed ||= ::Sidekiq.load_json(job.payload)
			end
		end
	end
end
