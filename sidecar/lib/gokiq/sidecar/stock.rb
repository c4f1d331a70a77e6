# frozen_string_literal: true

require "sidekiq/processor"
require "sidekiq/job_logger"

module Gokiq
	module Sidecar
		# Tells whether parts of Sidekiq are as Sidekiq ships them, so that a layer known to do nothing may be left out.
		module Stock
			# Versions whose `Processor#dispatch` has the layers that {JobProcessor} follows.
			VERSIONS = (Gem::Version.new("7.3")...Gem::Version.new("8.2"))

			LAYERS = %i[dispatch stats execute_job profile].freeze

			# Where Sidekiq's files are. An application's may have the same names, in `config/initializers/sidekiq/` for one.
			HOME = File.dirname(Object.const_source_location("Sidekiq::VERSION").first).freeze

			# @returns [Boolean] Whether the processor's layers are known and nobody has wrapped or replaced them.
			def self.processor?
				return false unless VERSIONS.cover?(Gem::Version.new(::Sidekiq::VERSION))

				LAYERS.all? { |name| own?(::Sidekiq::Processor, name, "processor.rb") }
			end

			# @returns [Boolean] Whether the job logger only logs.
			def self.job_logger?(logger)
				logger.instance_of?(::Sidekiq::JobLogger) && own?(::Sidekiq::JobLogger, :call, "job_logger.rb")
			end

			CLIENT = %i[push raw_push atomic_push].freeze

			# @returns [Boolean] Whether the client that pushes jobs is Sidekiq's own, unwrapped.
			def self.client?
				CLIENT.all? { |name| own?(::Sidekiq::Client, name, "client.rb") } &&
					::Sidekiq::Client.instance_method(:normalize_item).source_location.first == "#{HOME}/job_util.rb"
			end

			# @returns [Boolean] Whether Sidekiq reads JSON as it ships.
			def self.load_json?
				::Sidekiq.method(:load_json).source_location&.first == "#{HOME}.rb"
			end

			# @returns [Boolean] Whether the reloader only calls its block.
			def self.reloader?(reloader)
				reloader.equal?(::Sidekiq::Config::DEFAULTS[:reloader])
			end

			# A method that a later version dropped, or an earlier one has not, is no change.
			def self.own?(owner, name, file)
				return true unless owner.method_defined?(name) || owner.private_method_defined?(name)

				method = owner.instance_method(name)
				method.owner == owner && method.source_location&.first == "#{HOME}/#{file}"
			end
		end
	end
end
