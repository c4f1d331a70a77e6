# frozen_string_literal: true

require "fileutils"
require "socket"

begin
	# Not "falcon" itself: it would have to come after Rails, to set the isolation level of the app beside us.
	require "falcon/version"
	require "falcon/service/server"
rescue LoadError
	require "async/service/managed/service"
end

require_relative "../app/application"
require_relative "fork_guard"
require_relative "monitor"
require_relative "policy"
require_relative "settings"
require_relative "../worker/worker"

module Gokiq
	module Sidecar
		# Falcon's service where the gem is there, the one that Falcon's is made of elsewhere.
		BaseService = defined?(::Falcon::Service::Server) ? ::Falcon::Service::Server : ::Async::Service::Managed::Service

		# The root: loads the application once, binds the socket, and forks workers that share both.
		class Service < BaseService
			# Seconds that a container waits beyond its workers' own time before it kills them.
			MARGIN_S = 4.0

			# Added to a container of whoever runs us: nobody there knows how long our jobs may take.
			module Patience
				attr_writer :gokiq_patience_s

				# @parameter timeout [Boolean | Numeric] `true` is ten seconds, unless somebody knows better.
				def stop(timeout = true)
					super(timeout == true ? @gokiq_patience_s : timeout)
				end
			end

			# Connections that may wait for a worker.
			BACKLOG = 16

			def initialize(...)
				super

				@generation = 0
				@forks_more = false
			end

			# @attribute [Boolean] Whether whoever runs us forks one more worker when it is asked to.
			attr_writer :forks_more

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
				@root = Process.pid
				look_after(container)
				warn_of_old_code if @generation > 1

				super
			end

			# Fork a worker for jobs that are to run alone. Nobody replaces it.
			def add_solo(container)
				container.spawn(name: "gokiq solo") do |instance|
					Async do
						work(instance, solo: true)
						instance.ready!
					end
				end
			end

			# In a worker: start it.
			def run(instance, _evaluator)
				work(instance)
			end

			# The socket file goes with the root.
			def stop
				File.unlink(@evaluator.settings.socket_path)
			rescue SystemCallError
				# It has gone before.
			end

			private

			def work(instance, **options)
				# The root learns of a worker's end by the end of this pipe.
				pipe = instance.instance_variable_get(:@io)
				ForkGuard.own(pipe) if pipe.is_a?(IO)
				Worker.new(@application, @listener, @monitor, @generation, root: @root, workers: @evaluator.count, forks_more: @forks_more, **options).start
			end

			# Jobs that crash must not end what runs beside us, and a stop waits for jobs.
			def look_after(container)
				container.extend(Patience)
				container.gokiq_patience_s = drain_s + MARGIN_S
				container.policy = Policy.new if unchosen?(container.policy)
				container.policy.monitor = @monitor if container.policy.respond_to?(:monitor=)
			end

			# Whether it is one that gives up after a few crashes only because nobody has said what to do.
			def unchosen?(policy)
				[::Async::Container::Policy::DEFAULT, ::Async::Service::Policy::DEFAULT].any? { |default| policy.equal?(default) }
			end

			# The application is loaded once, before the first fork.
			def warn_of_old_code
				Console.warn(self, "gokiq: HUP has replaced the workers, which run the code that was loaded at the start. For new code start this process anew.")
			end

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
