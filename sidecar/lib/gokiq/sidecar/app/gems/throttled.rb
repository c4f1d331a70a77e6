# frozen_string_literal: true

module Gokiq
	module Sidecar
		module Gems
			# sidekiq-throttled has a strategy for a class, its subclasses, and the classes that share one by its name. Each
			# becomes a limit for all processes together and a rate over any stretch of time.
			class Throttled
				NAME = "sidekiq-throttled"

				# What it puts into Sidekiq's classes.
				PARTS = /\ASidekiq::Throttled::/

				# @returns [Boolean] Whether it is loaded.
				def self.there?
					!!defined?(::Sidekiq::Throttled::Registry)
				end

				# @returns [Hash]
				def self.settings(_config)
					new.settings
				end

				# @returns [Array(String)] What of it cannot be obeyed.
				def self.refusals(_config)
					new.refusals
				end

				# @returns [Array(String)] What differs from it.
				def self.doubts(_config)
					new.doubts
				end

				def initialize
					@users = classes.group_by { |job| ::Sidekiq::Throttled::Registry.get(job) }
					@users.delete(nil)
					@users.transform_values! { |jobs| jobs.map(&:name).sort }
				end

				# @returns [Hash] In the form of the app's own `gokiq:` section.
				def settings
					said = {cluster: {}, rates: {}, dependencies: {}}
					@users.each { |strategy, jobs| settle(said, strategy, *target(said, strategy, jobs)) }
					said
				end

				# @returns [Array(String)]
				def refusals
					@users.flat_map do |strategy, jobs|
						found = bounds(strategy).filter_map { |bound| unreadable(bound) }
						found << "has several thresholds" if rates(strategy).size > 1
						found << "shares its limits and has a gokiq_dependency of its own" if jobs.size > 1 && jobs.any? { |job| own_dependency?(job) }
						found.uniq.map { |reason| "#{jobs.first} #{reason}" }
					end
				end

				# @returns [Array(String)]
				def doubts
					@users.flat_map { |strategy, jobs| differences(strategy).map { |line| "#{NAME}: #{jobs.first}: #{line}" } } + [unloaded].compact
				end

				private

				# Those that are loaded now, as for {ClassOptions}.
				def classes
					ObjectSpace.each_object(Class).select { |job| job.name && (::Sidekiq::Job::Options::ClassMethods === job || active_job?(job)) }
				end

				def active_job?(job)
					defined?(::ActiveJob::Base) && job < ::ActiveJob::Base
				end

				def own_dependency?(job)
					options = Object.const_get(job).then { |found| found.respond_to?(:get_sidekiq_options) ? found.get_sidekiq_options : {} }
					options.key?("gokiq_dependency")
				end

				# Several classes with one strategy are one dependency.
				def target(said, strategy, jobs)
					return [:classes, jobs.first] if jobs.one?

					name = "throttled:#{name_of(strategy) || jobs.first}"
					said[:dependencies][name] = {classes: jobs}
					[:dependencies, name]
				end

				def name_of(strategy)
					::Sidekiq::Throttled::Registry.each { |name, known| return name if known.equal?(strategy) }
					nil
				end

				def settle(said, strategy, section, name)
					limit = limits(strategy).min
					(said[:cluster][section] ||= {})[name] = limit if limit

					count, period = rates(strategy).min_by { |most, per| most / per }
					(said[:rates][section] ||= {})[name] = {count: count, per: period, sliding: true} if count
				end

				def bounds(strategy)
					[*strategy.concurrency, *strategy.threshold].compact
				end

				# A threshold of 0 admits nothing, as a limit of 0 does.
				def limits(strategy)
					counts = Array(strategy.concurrency&.to_a).map { |bound| count(bound) }
					counts += thresholds(strategy).map(&:first).reject(&:positive?)
					counts.compact.map { |count| [count, 0].max }
				end

				def rates(strategy)
					thresholds(strategy).select { |count, period| count.positive? && period.positive? }
				end

				def thresholds(strategy)
					Array(strategy.threshold&.to_a).filter_map do |bound|
						count(bound).then { |count| [count, Float(bound.period)] if count } unless unreadable(bound)
					end
				end

				# What is no number is no limit there either.
				def count(bound)
					return if unreadable(bound)

					limit = bound.limit
					limit.ceil if Numeric === limit
				end

				# A limit for each of many keys, or one that depends on the job, is known only once the job is there.
				def unreadable(bound)
					return "has a key_suffix that depends on the job" if computed?(bound, :@key_suffix)

					what = %i[@limit @period].find { |name| computed?(bound, name) && takes_arguments?(bound, name) }
					"has a #{what.to_s.delete("@")} that depends on the job" if what
				end

				def computed?(bound, name)
					bound.instance_variable_get(name).respond_to?(:call)
				end

				def takes_arguments?(bound, name)
					found = bound.instance_variable_get(name)
					(found.respond_to?(:parameters) ? found : found.method(:call)).parameters.any?
				end

				def differences(strategy)
					found = []
					readable = bounds(strategy).reject { |bound| unreadable(bound) }
					found << "what its limit's block returns is read once, at boot" if readable.any? { |bound| computed?(bound, :@limit) || computed?(bound, :@period) }
					found << "its observer is not called: a job waits in its queue, nobody takes it out and puts it back" if strategy.observer
					requeue = strategy.respond_to?(:requeue_options) && strategy.requeue_options || {}
					found << "`requeue` has no effect: a job waits in its own queue" if requeue[:to] || ![nil, :enqueue].include?(requeue[:with])
					found
				end

				# Neither would they be known of gokiq's own options.
				def unloaded
					return unless defined?(::Rails.application) && ::Rails.application && !::Rails.application.config.eager_load

					"#{NAME}: classes that are loaded after the boot have no limit: set config.eager_load = true"
				end
			end
		end
	end
end
