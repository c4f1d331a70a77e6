# frozen_string_literal: true

# Merely defining Sidekiq::CLI makes `Sidekiq.server?` true, so this comes before the application.
require "sidekiq/cli"

require_relative "config_file"
require_relative "config_values"
require_relative "class_options"
require_relative "database"
require_relative "../errors"
require_relative "gems"
require_relative "../worker/one_worker"
require_relative "../sidekiq/own_record"
require_relative "../sidekiq/promoter"
require_relative "redis_address"
require_relative "../root/settings"
require_relative "../worker/signals"
require_relative "stack"
require_relative "../lanes/thread_variables"
require_relative "unobeyed"
require_relative "unreached"
require_relative "unused"
require_relative "../version"

module Gokiq
	module Sidecar
		# The application, loaded by Sidekiq's own command line code, and what HELLO says about it.
		class Application
			# Threads beside fibers, unless told otherwise.
			THREADS = 5

			# @parameter settings [Settings]
			def initialize(settings)
				@settings = settings
				@cli = ::Sidekiq::CLI.instance
				@concurrency = {}
			end

			# @attribute [Plan] How each worker runs jobs; known after {load}.
			attr :plan

			# @returns [Sidekiq::Config]
			def config
				@cli.config
			end

			# Parse the arguments, load the application, check it, and get ready to fork.
			# @raises [BootError] If jobs could not run safely in it.
			def load
				parse
				ports = Unused.ports
				@signal_handlers = Signals.left_by { @cli.send(:boot_application) }
				values = ConfigValues.new(config).tap(&:check)
				ThreadVariables.configure(config[:gokiq], *config[:config_file])
				@orchestrator = @settings.parent_pid if @settings.parent_pid == Process.ppid
				OwnRecord.take(@settings.identity, config) if @settings.identity
				config.server_middleware
				shared = OneWorker.prepare(config) if events == :auto
				@plan = Plan.new(lane: lane, slots: slots, threads: @settings.threads || THREADS)
				check_fibers if @plan.lane == :fiber
				ignored = Unobeyed.new(config).check
				@hello = describe
				config.logger.info { "gokiq: #{shared}" } if shared
				doubts = Gems.there.flat_map { |gem| gem.doubts(config) }
				doubts.push(*values.doubts, *ignored, *Unused.of(config), *Unreached.of, *Unused.opened(Unused.ports - ports))
				doubts.each { |line| config.logger.warn { "gokiq: #{line}" } }
				advise
				widen
				disconnect
				Process.warmup if Process.respond_to?(:warmup) && ENV["RUBY_DISABLE_WARMUP"] != "1"
			end

			# @parameter generation [Integer] How many times the root has started its workers.
			# @parameter except [Array(Array)] Capsules and queues that no other worker has.
			# @returns [Hash] The body of HELLO for the current process, with what `startup` handlers have added to capsules.
			def hello(generation, except: [])
				capsules = config.capsules.each_value.filter_map { |capsule| describe_capsule(capsule, except) }
				@hello.merge(pid: Process.pid, ppid: Process.ppid, generation: generation, client: client, sidekiq: {**@hello[:sidekiq], capsules: capsules})
			end

			# A worker runs as many jobs at once as it has slots, and each may need a connection of its capsule's pool.
			def widen
				config.capsules.each_value do |capsule|
					asked = @concurrency[capsule.name]
					next if asked && capsule.concurrency == [asked, @plan.slots].max

					@concurrency[capsule.name] = capsule.concurrency
					capsule.concurrency = [capsule.concurrency, @plan.slots].max
				end
			end

			# Code of the application runs in fibers only where its jobs do.
			def in_lane(&block)
				@plan.lane == :thread ? Thread.new(&block).value : yield
			end

			# @attribute [Hash(Symbol, Proc)] What the application has trapped while it was loaded.
			attr :signal_handlers

			# @returns [String] Of a worker's main thread, in Sidekiq's manner: it runs the jobs of every capsule.
			def thread_name
				config.capsules.size == 1 ? "sidekiq.#{config.capsules.each_key.first}/processor" : "sidekiq.processor"
			end

			# @returns [String] `"stock"`, or `"app"` where the application's client does more to a due job than Sidekiq's. A
			#   `startup` handler may have changed it, so it is asked in the worker.
			def client
				Promoter.stock?(config) ? "stock" : "app"
			end

			# @parameter name [String]
			# @returns [Sidekiq::Capsule | Nil]
			def capsule(name)
				config.capsules[name]
			end

			# @returns [Float] Seconds that running jobs have when the sidecar itself was told to stop.
			def drain_s
				@settings.drain_s || Float(config[:timeout])
			end

			# @returns [Float | Nil] Seconds that a job may run which says nothing itself.
			def job_timeout_s
				@settings.job_timeout_s
			end

			# @returns [Symbol] In which workers the application's lifecycle events fire, as in {Settings}.
			def events
				@settings.events
			end

			# @returns [Integer | Nil] Pid of the orchestrator that started the root.
			attr :orchestrator

			# @returns [String] Of the lock that one of the workers holds.
			def leader_path
				@settings.leader_path
			end

			# @returns [Array(String)] Where the application's own code lies.
			def folders
				[Dir.pwd, @settings.app_folder].uniq
			end

			# @returns [Boolean] Whether a Rails application is loaded.
			def rails?
				defined?(::Rails.application) && !::Rails.application.nil?
			end

			private

			# Sidekiq prints its usage and exits when there is nothing to load, and says little of what it cannot read.
			def parse
				@cli.parse(@settings.arguments.dup)
			rescue SystemExit => error
				raise if error.success?

				raise BootError.new("neither a Ruby file nor a Rails application: #{config[:require]}", hint: "point -r to one", error_class: "SystemExit")
			rescue StandardError => error
				said = explain(error)
				raise BootError.new(said, error_class: "ConfigError") if said

				raise BootError.new(error.message, hint: "check the options and the configuration file", error_class: error.class.name)
			end

			# @returns [String | Nil] Which setting is wrong, when it can be told.
			def explain(error)
				named = @settings.named("-C", "--config")
				folder = @settings.named("-r", "--require").then { |path| path && File.directory?(path) ? path : "." }
				said = ConfigFile.new(named, folder, @cli.environment).explain(error)
				threads = ENV["RAILS_MAX_THREADS"]
				return said if said || threads.nil? || !(ArgumentError === error)

				"RAILS_MAX_THREADS #{threads.inspect}: #{ConfigFile::POSITIVE}" unless Integer(threads, exception: false)&.positive?
			end

			def lane
				return @settings.lane unless @settings.lane == :auto
				return :fiber unless rails? && reloading?

				config.logger.info { "gokiq: code reloading is on, jobs run in threads; set config.enable_reloading = false to use fibers" }
				:thread
			end

			def reloading?
				rails = ::Rails.application.config
				rails.respond_to?(:reloading_enabled?) ? rails.reloading_enabled? : !rails.cache_classes
			end

			def slots
				@settings.slots || -(-config.capsules.each_value.sum(&:concurrency) / @settings.workers)
			end

			def check_fibers
				isolate
				check_locale
			end

			# i18n 1.14.8 keeps the locale in a variable of the thread; those before and after it in the fiber.
			def check_locale
				return unless defined?(::I18n.config) && Fiber.new { ::I18n.config }.resume.equal?(::I18n.config)

				raise BootError.new(
					"jobs cannot run in fibers: i18n #{::I18n::VERSION} has one locale for all of them",
					hint: "use the i18n gem 1.14.7, or 1.15 or later, or run with --lane thread",
				)
			end

			# Without isolation by fiber, jobs would share one database connection and one another's CurrentAttributes.
			def isolate
				return unless defined?(::ActiveSupport::IsolatedExecutionState)
				return if ::ActiveSupport::IsolatedExecutionState.isolation_level == :fiber

				if rails?
					raise BootError.new(
						"jobs cannot run in fibers: config.active_support.isolation_level is :thread",
						hint: "set config.active_support.isolation_level = :fiber in config/application.rb, or run with --lane thread",
					)
				end

				::ActiveSupport::IsolatedExecutionState.isolation_level = :fiber
			end

			def advise
				return unless @plan.lane == :fiber

				database = Database.for(@plan.slots)
				config.logger.warn { "gokiq: #{database.advice}" } if database
				config.logger.warn { "gokiq: #{Stack.advice}" } if Stack.advice
				ThreadVariables.accessors.each { |place| config.logger.warn { "gokiq: all jobs of a worker share #{place}; see docs/fibers.md" } }
			end

			# Connections must not be shared with the workers that are forked next.
			def disconnect
				::ActiveRecord::Base.connection_handler.clear_all_connections!(:all) if defined?(::ActiveRecord::Base)
				# Asking for a pool would make it; only those that the application has used are there.
				[config, *config.capsules.each_value].each { |owner| owner.instance_variable_get(:@redis)&.reload(&:close) }
			end

			def describe
				{
					protocol: PROTOCOLS,
					versions: versions,
					slots: @plan.slots,
					lane: @plan.lane.to_s,
					isolation_level: defined?(::ActiveSupport::IsolatedExecutionState) ? ::ActiveSupport::IsolatedExecutionState.isolation_level.to_s : nil,
					environment: @cli.environment,
					tag: config[:tag].to_s,
					labels: Array(config[:labels]).map(&:to_s),
					sidekiq: sidekiq,
					redis: RedisAddress.of(config.default_capsule),
					logger_level: config.logger.level,
					log_style: log_style,
					gokiq: config[:gokiq],
					classes: ClassOptions.all,
					job_classes: ClassOptions.names,
					gems: Gems.settings(config),
					database: Database.capacity(@plan.slots),
				}
			end

			# How the orchestrator is to write its lines, beside those of jobs.
			def log_style
				case config.logger.formatter
				when ::Sidekiq::Logger::Formatters::JSON then "json"
				when ::Sidekiq::Logger::Formatters::WithoutTimestamp then "without_timestamp"
				when ::Sidekiq::Logger::Formatters::Pretty then "pretty"
				else "plain"
				end
			end

			def versions
				{
					gokiq: VERSION,
					ruby: RUBY_VERSION,
					sidekiq: ::Sidekiq::VERSION,
					async: ::Async::VERSION,
					rails: rails? ? ::Rails.version : nil,
					falcon: defined?(::Falcon::VERSION) ? ::Falcon::VERSION : nil,
				}
			end

			def sidekiq
				{
					timeout: config[:timeout],
					dead_max_jobs: config[:dead_max_jobs],
					dead_timeout_in_seconds: config[:dead_timeout_in_seconds],
					max_retries: config[:max_retries],
					poll_interval_average: config[:poll_interval_average],
					average_scheduled_poll_interval: config[:average_scheduled_poll_interval],
				}
			end

			# @returns [Hash | Nil] Nil if nothing of it is left.
			def describe_capsule(capsule, except)
				queues = capsule.queues.uniq
				shared = queues.reject { |queue| except.include?([capsule.name, queue]) }
				return if shared.empty? && queues.any?

				{
					name: capsule.name,
					concurrency: @concurrency.fetch(capsule.name, capsule.concurrency),
					mode: capsule.mode.to_s,
					queues: shared.map { |name| [name.to_s, capsule.weights.fetch(name, 0)] },
				}
			end
		end
	end
end
