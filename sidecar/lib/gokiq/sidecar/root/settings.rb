# frozen_string_literal: true

require "json"

require_relative "../errors"

module Gokiq
	module Sidecar
		# What the sidecar is told by its environment. See `docs/protocol.md` section 8.
		class Settings
			# The longest path of a socket, in bytes. Longer ones meet the limit of `sockaddr_un` on one side or the other.
			PATH_BYTES = 100

			# Where an orchestrator that connects to us listens, unless we are told otherwise.
			MONITOR_SUFFIX = ".news"

			LANES = %w[auto fiber thread].freeze

			# In which workers the application's lifecycle events fire.
			EVENTS = %w[auto every one].freeze

			# @parameter env [Hash] Of the process.
			# @raises [BootError] If something in it cannot be used.
			def initialize(env = ENV)
				@socket_path = path(env, "GOKIQ_SOCKET") or raise BootError.new("GOKIQ_SOCKET is not set", hint: "set GOKIQ_SOCKET to the path of the socket to bind")
				@monitor_path = path(env, "GOKIQ_MONITOR") || "#{@socket_path}#{MONITOR_SUFFIX}"
				@leader_path = presence(env["GOKIQ_LEADER"]) || "#{@socket_path}.leader"
				@arguments = arguments_from(env["GOKIQ_SIDEKIQ_ARGS"])
				@workers = number(env, "GOKIQ_WORKERS") || 1
				@slots = number(env, "GOKIQ_SLOTS")
				@threads = number(env, "GOKIQ_THREADS")
				@lane = choice(env, "GOKIQ_LANE", LANES)
				@events = choice(env, "GOKIQ_EVENTS", EVENTS)
				@identity = presence(env["GOKIQ_IDENTITY"])
				@drain_s = seconds(env, "GOKIQ_DRAIN_S")
				@job_timeout_s = seconds(env, "GOKIQ_JOB_TIMEOUT")
				@parent_pid = number(env, "GOKIQ_PARENT_PID")
			end

			# @attribute [String] Where to listen.
			attr :socket_path

			# @attribute [String] Where to send datagrams.
			attr :monitor_path

			# @attribute [String] What the workers of all roots lock to agree on one of them.
			attr :leader_path

			# @attribute [Array(String)] For Sidekiq's command line.
			attr :arguments

			# @attribute [Integer] Processes to fork.
			attr :workers

			# @attribute [Integer | Nil] Jobs at once in one worker.
			attr :slots

			# @attribute [Integer | Nil] Threads beside fibers in one worker.
			attr :threads

			# @attribute [Symbol] `:auto`, `:fiber` or `:thread`.
			attr :lane

			# @attribute [Symbol] `:every` worker, `:one` of them, or `:auto`: each handler as {OneWorker} judges it.
			attr :events

			# @attribute [String | Nil] Of the orchestrator.
			attr :identity

			# @attribute [Float | Nil] Seconds that a worker may drain when the root was told to stop.
			attr :drain_s

			# @attribute [Float | Nil] Seconds that a job may run which says nothing itself.
			attr :job_timeout_s

			# @attribute [Integer | Nil] The orchestrator's process, if the root is to end with it.
			attr :parent_pid

			# @returns [Boolean] Whether Sidekiq was asked to be verbose.
			def verbose?
				@arguments.include?("-v") || @arguments.include?("--verbose")
			end

			# @returns [String] Folder of what Sidekiq was asked to load.
			def app_folder
				path = File.expand_path(named("-r", "--require") || ".")
				File.directory?(path) ? path : File.dirname(path)
			end

			# @parameter flags [Array(String)] The names of one option of Sidekiq's command line.
			# @returns [String | Nil] Its value, if it was given.
			def named(*flags)
				@arguments.each_cons(2).filter_map { |flag, value| value if flags.include?(flag) }.last
			end

			private

			def presence(value)
				value unless value.nil? || value.empty?
			end

			def path(env, name)
				value = presence(env[name]) or return
				return value if value.bytesize <= PATH_BYTES

				raise BootError.new("#{name} has #{value.bytesize} bytes, at most #{PATH_BYTES} are allowed: #{value}", hint: "choose a shorter path for #{name}")
			end

			def number(env, name)
				value = presence(env[name]) or return
				number = Integer(value, 10, exception: false)
				return number if number&.positive?

				raise BootError.new("#{name} is not a positive integer: #{value.inspect}", error_class: "ConfigError")
			end

			def seconds(env, name)
				value = presence(env[name]) or return
				number = Float(value, exception: false)
				return number if number && number >= 0

				raise BootError.new("#{name} is not a number of seconds: #{value.inspect}")
			end

			# The first is the default.
			def choice(env, name, allowed)
				value = presence(env[name]) || allowed.first
				return value.to_sym if allowed.include?(value)

				raise BootError.new("#{name} is not one of #{allowed.join(", ")}: #{value.inspect}")
			end

			def arguments_from(value)
				arguments = presence(value) ? JSON.parse(value) : []
				return arguments if arguments.is_a?(Array) && arguments.all?(String)

				raise BootError.new("GOKIQ_SIDEKIQ_ARGS is not a JSON array of strings")
			rescue JSON::ParserError
				raise BootError.new("GOKIQ_SIDEKIQ_ARGS is not JSON")
			end
		end

		# How one worker runs jobs, decided after the application has been loaded.
		Plan = Struct.new(:lane, :slots, :threads, keyword_init: true)
	end
end
