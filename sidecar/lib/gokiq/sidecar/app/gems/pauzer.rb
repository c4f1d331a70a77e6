# frozen_string_literal: true

module Gokiq
	module Sidecar
		module Gems
			# sidekiq-pauzer keeps the names of paused queues in a set.
			module Pauzer
				NAME = "sidekiq-pauzer"

				# What it puts into Sidekiq's classes.
				PARTS = /\ASidekiq::Pauzer::/

				# @returns [Boolean] Whether it is loaded.
				def self.there?
					!!defined?(::Sidekiq::Pauzer)
				end

				# @returns [Hash]
				def self.settings(_config)
					{paused: key}
				end

				# @returns [Array(String)] What of it cannot be obeyed.
				def self.refusals(_config)
					[]
				end

				# @returns [Array(String)] What differs from it.
				def self.doubts(_config)
					[]
				end

				# Releases before 5 keep it in their configuration, with a prefix that the app may set.
				def self.key
					return ::Sidekiq::Pauzer::Repository::REDIS_KEY if defined?(::Sidekiq::Pauzer::Repository::REDIS_KEY)

					set = ::Sidekiq::Pauzer.instance_variable_get(:@config)
					set.respond_to?(:redis_key) ? set.redis_key : NAME
				end
				private_class_method :key
			end
		end
	end
end
