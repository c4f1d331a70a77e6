# frozen_string_literal: true

require_relative "job_log"
require_relative "server_chain"
require_relative "stock"

module Gokiq
	module Sidecar
		# Which of Sidekiq's layers may be left out for the jobs of a capsule. Shared by its slots in one lane; found out once,
		# and again when something may have changed.
		class Layers
			# What is decided once about the plain jobs of a class: the class, nil where a reloader may replace it; their metrics,
			# nil where threads run them; the middleware that hears of a failure; what writes their lines, nil where none is seen;
			# what finds the class again.
			Shape = Struct.new(:job_class, :tally, :chain, :log, :finder)

			# Names that stand in Ruby's text as they are.
			PATH = /\A[A-Z]\w*(::[A-Z]\w*)*\z/

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

			# @attribute [Array] Of each attribute that is logged: its field, its key.
			attr :attributes

			# Look again if something may have changed.
			# @returns [Layers] Itself.
			def fresh
				learn unless @epoch == Stock.epoch && (@first.nil? || whole?)
				self
			end

			# @parameter name [String] Of a class.
			# @parameter workload [Workload] Knows which classes are for threads.
			# @returns [Shape | Nil] How to run a plain job of it, of which only the arguments are parsed; nil where somebody asks
			#   for more of the payload, or a line of the job logger cannot be written here.
			def shape(name, workload)
				# As in {fresh}, without a call: every job comes here.
				learn unless @epoch == Stock.epoch && (@first.nil? || ((entries = @entries).size == 2 && @first == entries[0] && @second == entries[1]))
				return unless @bare

				logs = @logger.info?
				return if logs && !@log&.for?(@logger)

				shapes = logs ? @loud : @quiet
				shape = shapes[name]
				shape = keep(shapes, name, make_shape(name, workload, logs)) unless shape && (@reloads || shape.finder.call.equal?(shape.job_class))
				shape if shape.tally
			rescue StandardError, ScriptError
				# The class cannot be found or loaded: the job is to fail by the rules.
				nil
			end

			private

			# Whether the chain has the entries that it had.
			def whole?
				@entries.size == 2 && @entries[0].equal?(@first) && @entries[1].equal?(@second)
			end

			# A payload may name any class.
			def keep(shapes, name, shape)
				shapes.clear if shapes.size >= Meter::MOST
				shapes[name] = shape
			end

			def make_shape(name, workload, logs)
				job_class = (Object.const_get(name) unless @reloads)
				Shape.new(job_class, (@meter[name] unless workload.threaded_class?(name, job_class)), @server_middleware, (@log if logs), (finder(name) unless @reloads))
			end

			# Ruby keeps what a constant in a text stands for until somebody sets one of that name, and then looks as `const_get`
			# does. Measured: 20 ns against 63, or 153 for three names. Only for a name that `const_get` has found.
			def finder(name)
				PATH.match?(name) ? eval("-> { ::#{name} }", TOPLEVEL_BINDING, __FILE__, __LINE__) : -> { Object.const_get(name) }
			end

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
				@loud = {}
				@quiet = {}
			end
		end
	end
end
