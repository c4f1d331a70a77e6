# frozen_string_literal: true

require "sidekiq/processor"
require "sidekiq/job/interrupt_handler"
require "sidekiq/metrics/tracking"

require_relative "meter"
require_relative "stock"

module Gokiq
	module Sidecar
		# The server middleware of an app that has added none: Sidekiq's metrics around its interrupt handler. Sidekiq makes both
		# anew for every job and walks the chain with closures; neither keeps anything of a job, so here they are kept.
		# Measured: 3.7 µs a job as a chain, 2.2 µs like this.
		class ServerChain
			STOCK = [::Sidekiq::Metrics::Middleware, ::Sidekiq::Job::InterruptHandler].freeze

			# @parameter chain [Sidekiq::Middleware::Chain]
			# @returns [ServerChain | Sidekiq::Middleware::Chain] The chain itself unless it is the stock one.
			def self.for(chain)
				stock?(chain) ? new(*chain.retrieve) : chain
			end

			# @returns [Boolean] Whether the chain is Sidekiq's own and nobody has changed its parts.
			def self.stock?(chain)
				chain.instance_of?(::Sidekiq::Middleware::Chain) && Stock.plain?(chain) && Stock.intact?(:chain) &&
					chain.map(&:klass) == STOCK && chain.all? { |entry| entry.instance_of?(::Sidekiq::Middleware::Entry) && Stock.plain?(entry) }
			end
			private_class_method :stock?

			# @parameter metrics [Sidekiq::Metrics::Middleware]
			# @parameter interrupts [Sidekiq::Job::InterruptHandler]
			def initialize(metrics, interrupts)
				@metrics = metrics
				@interrupts = interrupts
				@meter = Meter.for(metrics)
			end

			# @attribute [Meter | Nil] Counts what the metrics would; nil where only they can.
			attr :meter

			# Run a block inside of both.
			def invoke(instance, job_hash, queue, &block)
				@metrics.call(instance, job_hash, queue) do
					@interrupts.call(instance, job_hash, queue, &block)
				end
			end

			# What both do about a job that has raised; the meter stands for the metrics.
			# @parameter started [Integer] When the job began, microseconds of the monotonic clock.
			# @raises [Exception] The error, or what the interrupt handler makes of it.
			def failed(error, instance, job_hash, queue, started)
				tally = @meter[job_hash["wrapped"] || job_hash["class"]]
				@interrupts.call(instance, job_hash, queue) { raise error }
			rescue ::Sidekiq::JobRetry::Skip
				tally.done(started, Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond))
				raise
			rescue Exception
				tally.failed!
				raise
			end
		end
	end
end
