# frozen_string_literal: true

module Gokiq
	module Sidecar
		# What job classes ask of the orchestrator by `sidekiq_options`, for it to know before their first job. Classes that
		# are loaded later do not count.
		module ClassOptions
			# Key of HELLO => option.
			NAMES = {
				limit: "gokiq_limit",
				cluster_limit: "gokiq_cluster_limit",
				rate: "gokiq_rate",
				dependency: "gokiq_dependency",
			}.freeze

			# @returns [Hash] Name of each class that has any => its options.
			def self.all
				jobs.filter_map { |job| [job.name, of(job)] if job.name }.reject { |_, options| options.empty? }.sort.to_h
			end

			# The most names that are told.
			MOST_NAMES = 5_000

			# @returns [Array(String)] Names of the job classes that are loaded, Active Job's too.
			def self.names
				active = defined?(::ActiveJob::Base) ? ::ActiveJob::Base.descendants : []
				(jobs + active).filter_map(&:name).uniq.sort.first(MOST_NAMES)
			end

			def self.jobs
				ObjectSpace.each_object(Class).grep(::Sidekiq::Job::Options::ClassMethods)
			end
			private_class_method :jobs

			# @parameter job [Class]
			# @returns [Hash] Those of {NAMES} that it has.
			def self.of(job)
				options = job.get_sidekiq_options
				NAMES.transform_values { |name| options[name] }.compact
			end
		end
	end
end
