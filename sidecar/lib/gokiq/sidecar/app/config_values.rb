# frozen_string_literal: true

require_relative "config_file"
require_relative "../errors"

module Gokiq
	module Sidecar
		# The values of Sidekiq's configuration once the application is loaded: those that nobody can run with, and those
		# that Sidekiq takes for something else than was meant.
		class ConfigValues
			# What has to be a number, from where on, and whether it may be missing.
			NUMBERS = {
				timeout: [0, false],
				dead_max_jobs: [0, false],
				dead_timeout_in_seconds: [0, false],
				average_scheduled_poll_interval: [0, false],
				poll_interval_average: [0, true],
				max_retries: [0, true],
			}.freeze

			# @parameter config [Sidekiq::Config]
			def initialize(config)
				@config = config
			end

			# @raises [BootError] If it names a value with which no job could run.
			def check
				@config.capsules.each_value { |capsule| check_concurrency(capsule) }

				NUMBERS.each do |key, (least, optional)|
					value = @config[key]
					next if optional && value.nil?

					refuse(key, value, "must be a number of at least #{least}") unless number?(value) && Float(value) >= least
				end
			end

			# @returns [Array(String)] What is taken, and probably not as it was meant.
			def doubts
				lists = {"queues" => @config[:queues]}
				named_capsules.each { |name, given| lists["capsules.#{name}.queues"] = given[:queues] }
				empty = @config.capsules.each_value.select { |capsule| capsule.queues.empty? }

				lists.flat_map { |key, list| Array(list).filter_map { |entry| doubt(key, entry) } } +
					empty.map { |capsule| "capsule #{capsule.name} has no queues and runs no jobs" }
			end

			private

			def check_concurrency(capsule)
				value = capsule.concurrency
				return if Integer === value && value.positive?

				default = capsule.name == "default"
				given = default ? @config : named_capsules[capsule.name]
				from_file = given && given[:concurrency] == value
				refuse(default ? "concurrency" : "capsules.#{capsule.name}.concurrency", value, ConfigFile::POSITIVE, from_file: from_file)
			end

			def refuse(key, value, allowed, from_file: false)
				place = from_file && @config[:config_file] || "Sidekiq's configuration in Ruby"
				raise BootError.new("#{place}: #{key} #{value.inspect}: #{allowed}", error_class: "ConfigError")
			end

			def number?(value)
				!Float(value, exception: false).nil?
			end

			def named_capsules
				(@config[:capsules] || {}).to_h { |name, given| [name.to_s, given] }
			end

			def doubt(key, entry)
				return "#{key}: #{entry.inspect} is taken as a name; write [NAME, WEIGHT] or \"NAME,WEIGHT\"" if Hash === entry

				name, weight = entry.is_a?(String) ? entry.split(",") : entry
				return "#{key}: #{entry.inspect} is a queue without a name" if name.to_s.empty?
				return if weight.nil? || weight.to_s.match?(/\A\s*\d+\s*\z/)

				"#{key}: the weight #{weight.inspect} of #{name} must be a whole number, 0 or more; it counts as #{[weight.to_i, 1].max}"
			end
		end
	end
end
