# frozen_string_literal: true

require "erb"
require "yaml"

require_relative "../errors"

module Gokiq
	module Sidecar
		# Sidekiq's YAML file, read once more after Sidekiq has failed on it, to say where it is wrong.
		class ConfigFile
			# Where Sidekiq looks when no file was named, in the order of its preference.
			NAMES = %w[config/sidekiq.yml config/sidekiq.yml.erb].freeze

			# What a number of threads or seconds has to be.
			POSITIVE = "must be a whole number, 1 or more"

			# @parameter named [String | Nil] That of `-C`.
			# @parameter folder [String] Where Sidekiq looks otherwise.
			# @parameter environment [String | Nil] Whose section counts.
			def initialize(named, folder, environment)
				@path = named || NAMES.map { |name| File.join(folder, name) }.find { |path| File.exist?(path) }
				@environment = environment
			end

			# @parameter error [StandardError] With which Sidekiq failed.
			# @returns [String | Nil] What is wrong in the file, nil if that does not explain the error.
			def explain(error)
				return unless @path && File.file?(@path)

				case error
				when Psych::SyntaxError then "#{@path}: line #{error.line}, column #{error.column}: no valid YAML#{", after ERB" if erb?}: #{[error.problem, error.context].compact.join(" ")}"
				when Psych::Exception then "#{@path}: #{error.message}: only plain values and symbols are allowed"
				else explain_erb(error) || explain_values
				end
			end

			private

			def erb?
				File.read(@path).include?("<%")
			end

			def explain_erb(error)
				frame = error.backtrace&.find { |line| line.start_with?("#{File.expand_path(@path)}:") } or return
				"#{@path}: line #{frame[/:(\d+)/, 1]}: its ERB raised #{error.class}: #{error.message}"
			end

			def explain_values
				all = YAML.safe_load(ERB.new(File.read(@path), trim_mode: "-").result, permitted_classes: [Symbol], aliases: true)
				return complain(nil, all, "must be a mapping of keys to values") unless Hash === all

				all = all.transform_keys(&:to_s)
				section = all[@environment.to_s] || {}
				return complain(@environment, section, "must be a mapping, as that environment's section") unless Hash === section

				explain_keys(all.merge(section.transform_keys(&:to_s)))
			rescue StandardError
				# It says something else the second time: the first error has to do.
			end

			def explain_keys(found)
				%w[concurrency timeout].each do |key|
					return complain(key, found[key], POSITIVE) if found.key?(key) && !positive?(found[key])
				end

				capsules = found["capsules"] || {}
				return complain("capsules", capsules, "must be a mapping of names to `queues` and `concurrency`") unless Hash === capsules

				name, wrong = capsules.find { |_, value| !(Hash === value) }
				complain("capsules.#{name}", wrong, "must be a mapping with `queues` and `concurrency`") if name
			end

			# As Sidekiq judges it before the application has its say.
			def positive?(value)
				value.respond_to?(:to_i) && value.to_i.positive?
			end

			def complain(key, value, allowed)
				"#{@path}: #{"#{key} " if key}#{value.inspect}: #{allowed}"
			end
		end
	end
end
