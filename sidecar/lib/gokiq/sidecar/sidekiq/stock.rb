# frozen_string_literal: true

require "sidekiq"
require "sidekiq/client"
require "sidekiq/processor"
require "sidekiq/job_logger"
require "sidekiq/job/interrupt_handler"
require "sidekiq/logger"
require "sidekiq/metrics/tracking"
require "sidekiq/profiler" if Gem::Version.new(Sidekiq::VERSION) >= Gem::Version.new("8")

require_relative "fingerprint"

module Gokiq
	module Sidecar
		# Tells whether parts of Sidekiq are as Sidekiq ships them, so that a layer known to do nothing may be left out. The
		# answer comes from every method of the classes that are left out, not from a list of methods.
		#
		# It is found again when a watched class is reopened, or a module put before or into it ({Watch} sees it at once), and
		# after `startup` and at each BEAT, for what goes around the class (methods of its singleton class, methods added to a
		# module that has been there, `prepend_features`). {epoch} grows each time that something has changed.
		module Stock
			# Versions whose `Processor#dispatch` has the layers that {JobProcessor} follows.
			VERSIONS = (Gem::Version.new("7.3")...Gem::Version.new("8.2"))

			# Where Sidekiq's files are. An application's may have the same names, in `config/initializers/sidekiq/` for one.
			HOME = File.dirname(Object.const_source_location("Sidekiq::VERSION").first).freeze

			# The same as `require` found them, which may be by a link; and the files of what Sidekiq's loggers are made of.
			HOMES = [
				"#{HOME}/", "#{HOME}.rb", "#{File.dirname(Object.const_source_location("Sidekiq::Processor").first)}/",
				*%w[Logger::LogDevice MonitorMixin Forwardable::VERSION].map { |name| Object.const_source_location(name).first.sub(/\/log_device\.rb\z|\.rb\z/, "") },
			].freeze

			# The classes of each layer.
			PARTS = {
				processor: [::Sidekiq::Processor, ::Sidekiq::Processor::SharedWorkState, ::Sidekiq::Processor::Counter],
				retries: [::Sidekiq::JobRetry],
				job_logger: [::Sidekiq::JobLogger, ::Sidekiq::Context],
				chain: [::Sidekiq::Middleware::Chain, ::Sidekiq::Middleware::Entry, ::Sidekiq::Metrics::Middleware, ::Sidekiq::Job::InterruptHandler],
				metrics: [::Sidekiq::Metrics::ExecutionTracker, ::Sidekiq::Metrics::Histogram],
				logger: [::Sidekiq::Logger, ::Logger::LogDevice, *::Sidekiq::Logger::Formatters.constants.map { |name| ::Sidekiq::Logger::Formatters.const_get(name) }.grep(Class)],
				client: [::Sidekiq::Client],
			}.freeze

			# Methods that no way through a job calls, here or in Sidekiq, or whose work is the orchestrator's.
			ASIDE = {
				::Sidekiq::Processor => %i[initialize start run process_one get_one fetch handle_fetch_exception process kill terminate thread job],
			}.freeze

			# The same of what Sidekiq puts into all of its parts.
			IDLE = %i[hostname process_nonce identity fire_event default_tag inspect safe_thread watchdog real_ms].freeze

			# Tells at once of what is done to a class by its own methods.
			module Watch
				HOOKS = %i[method_added method_removed method_undefined singleton_method_added].freeze

				[:include, :prepend, :extend, *HOOKS].each do |name|
					define_method(name) { |*arguments| super(*arguments).tap { Stock.stir } }
				end

				private(*HOOKS)
			end

			WATCHED = (PARTS.values.flatten | [::Sidekiq::Component, ::Sidekiq::ServerMiddleware, ::Sidekiq::JobUtil, ::Logger, ::Logger::Formatter]).freeze

			@load_json = ::Sidekiq.method(:load_json)
			@known = VERSIONS.cover?(Gem::Version.new(::Sidekiq::VERSION))
			@epoch = 0
			@answers = {}

			class << self
				# @attribute [Integer] Another one whenever something may have changed.
				attr :epoch

				# Something has changed, or may have: have everybody look again. From any thread.
				def stir
					@answers = {}
					@epoch += 1
				end

				# @parameter parts [Array(Symbol)] Of {PARTS}.
				# @returns [Boolean] Whether they are as Sidekiq ships them.
				def intact?(*parts)
					parts.all? do |part|
						answer = @answers[part]
						answer.nil? ? (@answers[part] = PARTS.fetch(part).all? { |mod| changes(mod).empty? }) : answer
					end
				end

				# @parameter mod [Module] Of {PARTS}.
				# @returns [Array(Symbol)] Names of its methods that somebody has changed, and that a job can meet.
				def changes(mod)
					@fingerprints.fetch(mod).changed - IDLE - ASIDE.fetch(mod, [])
				end

				# @returns [Boolean] Whether the processor's layers are known and nobody has wrapped or replaced them.
				def processor?
					@known && intact?(:processor) && [::Sidekiq::Processor::PROCESSED, ::Sidekiq::Processor::FAILURE, ::Sidekiq::Processor::WORK_STATE].all? { |object| plain?(object) }
				end

				# @returns [Boolean] Whether the job logger only logs, to a logger that does nothing with what is below its level.
				def job_logger?(job_logger, logger)
					job_logger.instance_of?(::Sidekiq::JobLogger) && plain?(job_logger) && intact?(:job_logger) && quiet?(logger)
				end

				# @returns [Boolean] Whether the client that pushes jobs is Sidekiq's own, unwrapped.
				def client?
					intact?(:client, :chain)
				end

				# @returns [Boolean] Whether Sidekiq reads JSON as it ships.
				def load_json?
					@load_json == ::Sidekiq.method(:load_json) && @load_json.source_location&.first == "#{HOME}.rb"
				end

				# @returns [Boolean] Whether the reloader only calls its block.
				def reloader?(reloader)
					reloader.equal?(::Sidekiq::Config::DEFAULTS[:reloader])
				end

				# @returns [Boolean] Whether an object has no methods but those of its class and ours.
				def plain?(object)
					own = object.singleton_class
					added = own.ancestors.take_while { |mod| mod != object.class } - [own]
					added.all? { |mod| mod.name&.start_with?("Gokiq::Sidecar::") } && (own.instance_methods(false) + own.private_instance_methods(false)).empty?
				end

				private

				# Loggers of Ruby, Sidekiq and Active Support are known to do so.
				def quiet?(logger)
					%i[info info? level add].all? do |name|
						next false unless logger.respond_to?(name)

						method = logger.method(name)
						method = method.super_method while method && known_logger?(method)
						method.nil?
					end
				end

				def known_logger?(method)
					path = method.source_location&.first
					path.nil? || path.start_with?(*HOMES, *active_support)
				end

				def active_support
					@active_support ||= [Object.const_source_location("ActiveSupport::Logger").first[/\A.*\/active_support(?=[.\/])/].to_s] if defined?(::ActiveSupport::Logger)
				end
			end

			WATCHED.each { |mod| mod.extend(Watch) }
			@fingerprints = PARTS.values.flatten.to_h { |mod| [mod, Fingerprint.new(mod, [*HOMES, __FILE__])] }
		end
	end
end
