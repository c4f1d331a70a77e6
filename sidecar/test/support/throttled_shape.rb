# frozen_string_literal: true

require "sidekiq"
require "sidekiq/fetch"

module Sidekiq
	# What sidekiq-throttled looks like from outside: its registry, strategies, middleware, and what it puts into the fetcher.
	module Throttled
		Concurrency = Struct.new(:key, :limit_said, :key_suffix) do
			def initialize(*)
				super
				@limit = limit_said
				@key_suffix = key_suffix
			end

			def limit(args = nil)
				@limit.respond_to?(:call) ? @limit.call(*args) : @limit
			end

			def finalize!(jid)
				Sidekiq.redis { |redis| redis.call("ZREM", key, jid) }
			end
		end

		Threshold = Struct.new(:key, :limit_said, :period_said, :key_suffix) do
			def initialize(*)
				super
				@limit = limit_said
				@period = period_said
				@key_suffix = key_suffix
			end

			def limit(args = nil)
				@limit.respond_to?(:call) ? @limit.call(*args) : @limit
			end

			def period(args = nil)
				(@period.respond_to?(:call) ? @period.call(*args) : @period).to_f
			end
		end

		# Of one name.
		class Strategy
			def initialize(name, concurrency: nil, threshold: nil, key_suffix: nil, observer: nil, requeue: nil)
				@concurrency = list(concurrency).map { |one| Concurrency.new("throttled:#{name}:concurrency.v2", one[:limit], key_suffix) }
				@threshold = list(threshold).map { |one| Threshold.new("throttled:#{name}:threshold", one[:limit], one[:period], key_suffix) }
				@observer = observer
				@requeue_options = {with: :enqueue}.merge(requeue || {})
			end

			attr_reader :concurrency, :threshold, :observer, :requeue_options

			private

			def list(given)
				given.is_a?(Hash) ? [given] : Array(given)
			end
		end

		# Strategies by name.
		module Registry
			@strategies = {}
			@aliases = {}

			class << self
				def add(name, **options)
					@strategies[name.to_s] = Strategy.new(name.to_s, **options)
				end

				def add_alias(name, other)
					@aliases[name.to_s] = @strategies.fetch(other.to_s)
				end

				def get(name)
					known = name.is_a?(Class) ? name.ancestors.map(&:name) : [name.to_s]
					known.filter_map { |one| @strategies[one] || @aliases[one] }.first
				end

				def each(&block)
					@strategies.each(&block)
				end
			end
		end

		# For job classes.
		module Job
			def self.included(base)
				base.extend(ClassMethods)
			end

			# How they say it.
			module ClassMethods
				def sidekiq_throttle(**options)
					Registry.add(self, **options)
				end

				def sidekiq_throttle_as(name)
					Registry.add_alias(self, name)
				end
			end
		end

		module Patches
			# In the fetcher.
			module BasicFetch
				def retrieve_work
					raise "nobody calls it here"
				end
			end
		end

		# Gives back what a fetcher took.
		class Middleware
			include Sidekiq::ServerMiddleware

			def call(_job, message, _queue)
				yield
			ensure
				Registry.get(message["class"])&.concurrency&.each { |one| one.finalize!(message["jid"]) }
			end
		end
	end

	BasicFetch.prepend(Throttled::Patches::BasicFetch)
	configure_server { |config| config.server_middleware { |chain| chain.add(Throttled::Middleware) } }
end
