# frozen_string_literal: true

require_relative "job_log"
require_relative "server_chain"
require_relative "stock"

module Gokiq
	module Sidecar
		# Which of Sidekiq's layers may be left out for the jobs of a capsule. Shared by its slots in one lane; found out once,
		# and again when something may have changed.
		class Layers
			# Fields that a plain job may have.
			PLAIN = %w[class jid args queue retry created_at enqueued_at].freeze

			JID_FIRST = Gem::Version.new(::Sidekiq::VERSION) >= Gem::Version.new("8")

			# @parameter config [Sidekiq::Config | Sidekiq::Capsule] As the processor sees it.
			# @parameter logger [Logger] To which the job logger writes.
			# @parameter job_logger [Object] The processor's.
			# @parameter reloader [Proc] The processor's.
			def initialize(config, logger, job_logger, reloader)
				@config = config
				@logger = logger
				@job_logger = job_logger
				@reloads = !Stock.reloader?(reloader)
				@chain = config.server_middleware
				@names = JID_FIRST ? config[:logged_job_attributes] : %w[bid tags]
				learn
			end

			# @attribute [Boolean] Whether Sidekiq's own `dispatch` does what we know.
			attr :known

			# @attribute [Boolean] Whether the job logger may be left out where no line of it would be seen.
			attr :silent

			# @attribute [Boolean] Whether the reloader does something.
			attr :reloads

			# @attribute [ServerChain | Sidekiq::Middleware::Chain]
			attr :server_middleware

			# @attribute [Meter | Nil] Counts what the metrics would; nil where only they can.
			attr :meter

			# @attribute [Boolean] Whether all layers may be left out, but for the middleware of the application.
			attr :possible

			# @attribute [Boolean] Whether nothing but the class and the arguments of a plain job is needed.
			attr :bare

			# @attribute [JobLog | Nil] Writes the lines of bare jobs; nil where only the job logger can.
			attr :log

			# @attribute [Array] Of each attribute that is logged: its field, its key.
			attr :attributes

			# @attribute [Hash] What is known of the classes of plain jobs, by name.
			attr :shapes

			# Look again if something may have changed.
			# @returns [Layers] Itself.
			def fresh
				learn unless @epoch == Stock.epoch && (!@first || (@entries.size == 2 && @entries[0].equal?(@first) && @entries[1].equal?(@second)))
				self
			end

			private

			def learn
				# First, so that what changes meanwhile is seen by the next job.
				@epoch = Stock.epoch
				@first = @second = nil
				@known = Stock.processor?
				@silent = Stock.job_logger?(@job_logger, @logger) && !@config[:skip_default_job_logging]
				@server_middleware = ServerChain.for(@chain)
				# A chain of the application's own is asked for each job anyway.
				@meter = nil
				if ServerChain === @server_middleware
					@entries = @chain.entries
					@first, @second = @entries
					@meter = @server_middleware.meter
				end
				@possible = @known && @silent && Stock.intact?(:retries)
				@attributes = @names.map { |name| [name, name.to_sym] }
				@bare = @possible && !@meter.nil? && Stock.load_json? && (@names & PLAIN).empty?
				@log = (JobLog.for(@logger) if @bare)
				@shapes = {}
			end
		end
	end
end
