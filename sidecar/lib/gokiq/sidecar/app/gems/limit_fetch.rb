# frozen_string_literal: true

module Gokiq
	module Sidecar
		module Gems
			# sidekiq-limit_fetch keeps limits and pauses of queues under one key each, which its API changes at any time. What
			# the app's file says counts where there is no such key.
			module LimitFetch
				NAME = "sidekiq-limit_fetch"

				# What it puts into Sidekiq's classes.
				PARTS = /\ASidekiq::(LimitFetch\b|Manager::InitLimitFetch\z)/

				# Of its keys: `limit_fetch:limit:QUEUE` and others.
				PREFIX = "limit_fetch"

				# @returns [Boolean] Whether it is loaded.
				def self.there?
					!!defined?(::Sidekiq::LimitFetch)
				end

				# @parameter config [Sidekiq::Config]
				# @returns [Hash]
				def self.settings(config)
					{
						live: PREFIX,
						cluster: {queues: counts(config[:limits])},
						limits: {queues: counts(config[:process_limits])},
					}
				end

				# @parameter config [Sidekiq::Config]
				# @returns [Array(String)] What of it cannot be obeyed.
				def self.refusals(config)
					found = []
					found << "`blocking` holds up no queue here; strict order and gokiq's `reserve` come nearest" if Array(config[:blocking]).any?
					found << "`dynamic` adds no queues here; list them under `queues`" if config[:dynamic]
					found
				end

				# @returns [Array(String)] What differs from it.
				def self.doubts(_config)
					[]
				end

				# What is no number is no limit to its script either.
				def self.counts(given)
					(given || {}).filter_map { |queue, value| (number = Float(value, exception: false)) && [queue.to_s, [number.ceil, 0].max] }.to_h
				end
				private_class_method :counts
			end
		end
	end
end
