# frozen_string_literal: true

require_relative "service"

if defined?(::Falcon::Service::Server)
	require "falcon/environment/server"
else
	require "async/service/managed/environment"
end

module Gokiq
	module Sidecar
		BaseEnvironment = defined?(::Falcon::Environment::Server) ? ::Falcon::Environment::Server : ::Async::Service::Managed::Environment

		# For `service "gokiq" do include Gokiq::Sidecar::Environment end` in a `falcon.rb`.
		module Environment
			include BaseEnvironment

			# @returns [Class]
			def service_class
				Service
			end

			# @returns [Settings] From the process's environment.
			def settings
				@settings ||= Settings.new
			end

			# @returns [Integer] Workers to fork.
			def count
				settings.workers
			end

			# The watchdog and the orchestrator look after the health of workers: a computing job is no reason to kill one.
			def health_check_timeout
				nil
			end
		end
	end
end
