# frozen_string_literal: true

require "fileutils"
require "socket"

begin
	require "falcon"
	require "falcon/service/server"
rescue LoadError
	require "async/service/managed/service"
end

require_relative "application"
require_relative "monitor"
require_relative "settings"
require_relative "worker"

module Gokiq
	module Sidecar
		# Falcon's service where the gem is there, the one that Falcon's is made of elsewhere.
		BaseService = defined?(::Falcon::Service::Server) ? ::Falcon::Service::Server : ::Async::Service::Managed::Service

		# The root: loads the application once, binds the socket, and forks workers that share both.
		class Service < BaseService
			# Connections that may wait for a worker.
			BACKLOG = 16

			def initialize(...)
				super

				@generation = 0
			end

			# Load, bind; everything before the first fork.
			# @raises [BootError] If jobs could not run safely.
			def start
				return if @listener

				settings = @evaluator.settings
				@monitor = Monitor.new(settings.monitor_path)
				began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
				@application = Application.new(settings).tap(&:load)
				@listener = bind(settings.socket_path)
				@monitor.call("booted", seconds: (Process.clock_gettime(Process::CLOCK_MONOTONIC) - began).round(3))
			end

			# @returns [Float] Seconds that a worker may drain when the root was told to stop.
			def drain_s
				@application.drain_s
			end

			# Fork one generation of workers.
			def setup(container)
				@generation += 1

				super
			end

			# Fork a worker for jobs that are to run alone. Nobody replaces it.
			def add_solo(container)
				container.spawn(name: "gokiq solo") do |instance|
					Async do
						Worker.new(@application, @listener, @monitor, @generation, solo: true).start
						instance.ready!
					end
				end
			end

			# In a worker: start it.
			def run(_instance, _evaluator)
				Worker.new(@application, @listener, @monitor, @generation).start
			end

			# The socket file goes with the root.
			def stop
				File.unlink(@evaluator.settings.socket_path)
			rescue SystemCallError
				# It has gone before.
			end

			private

			# A socket that a dead root has left behind is replaced; one that somebody listens on is not.
			def bind(path)
				if File.exist?(path)
					raise BootError.new("#{path} is in the way and is no socket") unless File.socket?(path)
					raise BootError.new("another sidecar listens on #{path}", hint: "stop it, or set GOKIQ_SOCKET to another path") if answered?(path)

					File.unlink(path)
				end

				old = File.umask(0o177)
				server = UNIXServer.new(path)
				server.listen(BACKLOG)
				server
			ensure
				File.umask(old) if old
			end

			def answered?(path)
				UNIXSocket.new(path).close
				true
			rescue SystemCallError
				false
			end
		end
	end
end
