# frozen_string_literal: true

require_relative "../errors"

module Gokiq
	module Sidecar
		# Thread variables (`Thread#thread_variable_get` and its fellows) of each fiber that runs jobs, as each of Sidekiq's
		# threads has its own: error trackers and tracers keep there whose request it is.
		#
		# It extends the reactor's thread alone; other threads are as ever. A fiber that {ThreadVariables.own} was called in, and
		# those that are made in it, see one set of variables; they find it in their fiber storage. So does a thread that a job
		# starts and that asks for its parent's. Elsewhere in the reactor the thread's real variables are seen.
		#
		# As with threads, what a job leaves there the next one of the same slot finds. Nothing is done for a job that uses none.
		module ThreadVariables
			KEY = :gokiq_thread_variables

			# The key under `gokiq:` in Sidekiq's configuration: names of variables that all jobs of a worker are to share.
			SETTING = "shared_thread_variables"

			# Where concurrent-ruby keeps the values of its `ThreadLocalVar`. It holds on to each array until the thread ends.
			CONCURRENT = :concurrent_thread_locals

			# Files whose accessors of Thread do no harm. Rails keeps its state in the fiber at isolation level `:fiber`, without which
			# there is no fiber lane; the others are for all fibers of a thread on purpose.
			HARMLESS = %r{/(active_support/isolated_execution_state|fiber/local|async/http/internet/instance)\.rb\z}

			@shared = [].freeze
			@arrays = []

			class << self
				# @attribute [Array(Symbol)] Names that are not kept apart.
				attr_reader :shared

				# Read which variables the application shares.
				# @parameter settings [Hash | Nil] The `gokiq:` section of Sidekiq's configuration.
				# @parameter place [String] Where it stands.
				# @raises [BootError] If it is no list of names.
				def configure(settings, place = "Sidekiq's configuration in Ruby")
					names = settings[SETTING.to_sym] || settings[SETTING] if Hash === settings
					return if names.nil?

					unless Array === names && names.all? { |name| (String === name || Symbol === name) && !name.empty? }
						raise BootError.new("#{place}: gokiq: #{SETTING} #{names.inspect}: must be a list of names", error_class: "ConfigError")
					end

					@shared = names.map(&:to_sym).freeze
				end

				# Instance variables of the thread cannot be kept apart.
				# @returns [Array(String)] Accessors that somebody has added to Thread, and where.
				def accessors
					Thread.instance_methods(false).filter_map do |name|
						file, line = Thread.instance_method(name).source_location
						"Thread##{name.to_s.delete_suffix("=")} (#{file}:#{line})" if file && name.end_with?("=") && !HARMLESS.match?(file)
					end
				end

				# Keep the variables of the current thread apart by fiber from now on.
				def install
					Thread.current.extend(self)
				end

				# Give the current fiber variables of its own.
				def own
					Fiber[KEY] = (array = @arrays.pop) ? {CONCURRENT => array} : {}
				end

				# The current fiber ends. What concurrent-ruby would keep for ever is used again.
				def disown
					array = Fiber[KEY]&.delete(CONCURRENT)
					@arrays << array.clear if array
					Fiber[KEY] = nil
				end
			end

			def thread_variable_get(name)
				(own = own_variables(name)) ? own[name.to_sym] : super
			end

			def thread_variable_set(name, value)
				(own = own_variables(name)) ? own[name.to_sym] = value : super
			end

			def thread_variable?(name)
				(own = own_variables(name)) ? !own[name.to_sym].nil? : super
			end

			def thread_variables
				return super unless (own = Fiber[KEY])

				own.keys | (super & ThreadVariables.shared)
			end

			private

			# Nil where the thread's own are meant. Ruby itself complains of a name that is none.
			def own_variables(name)
				return unless (own = Fiber[KEY]) && (Symbol === name || String === name)

				shared = ThreadVariables.shared
				own unless !shared.empty? && shared.include?(name.to_sym)
			end
		end
	end
end
