# frozen_string_literal: true

require "securerandom"
require "socket"

require_relative "../errors"
require_relative "../root/failure"
require_relative "web_guard"
require_relative "web_server"

module Gokiq
	module Sidecar
		# Serves the application's own Sidekiq::Web. The application is loaded as its web process loads it: without
		# `sidekiq/cli`, whose mere presence would make `Sidekiq.server?` true.
		class Web
			# @parameter app [String] A Rails application's folder, or a Ruby file.
			# @parameter host [String] Address to listen on.
			# @parameter port [Integer] Port to listen on, 0 for a free one.
			# @parameter server [String | Nil] Name of a {WebServer}; if none is given, the first that is there.
			# @parameter auth [String | Nil] "user:password" that a visitor must give.
			def initialize(app, host:, port:, server: nil, auth: nil)
				@app = app
				@host = host
				@port = port
				@server = server unless server.to_s.empty?
				@auth = auth
			end

			# Serve until told to stop (INT or TERM; a second one does not wait for requests), then exit with 0; with 1 and one
			# line on stderr when that is impossible.
			def call
				stop, stopper = IO.pipe
				listener = listen
				load_app
				check_redis
				server = WebServer.find(@server)
				%w[INT TERM].each { |signal| trap(signal) { stopper.closed? ? exit!(130) : stopper.close } }
				announce(server, listener.local_address.ip_port)
				server.call(rack_app, listener, stop)
				exit(0)
			rescue Interrupt
				exit(130)
			rescue SystemExit => error
				raise if error.success? || error.status == 130
				fail_boot(error, message: "the app called exit(#{error.status}) while it was loading")
			rescue SignalException
				raise
			rescue Exception => error
				fail_boot(error)
			end

			private

			# Before the application is loaded: that may take long.
			def listen
				TCPServer.new(@host, @port)
			rescue SystemCallError, SocketError => error
				cause = error.message.sub(/ - (bind|getaddrinfo|connect).*/, "")
				raise BootError.new("cannot listen on #{@host}, port #{@port}: #{cause}", hint: "choose another with -b and -p")
			end

			def load_app
				# As Sidekiq's command line does (lib/sidekiq/cli.rb, set_environment).
				environment = ENV["APP_ENV"] || ENV["RAILS_ENV"] || ENV["RACK_ENV"] || "development"
				ENV["RACK_ENV"] = ENV["RAILS_ENV"] = environment

				if File.directory?(@app)
					require "rails"
					require File.join(@app, "config", "environment.rb")
					# Extensions of the Web UI are registered in the routes, which Rails 8 loads with the first request.
					::Rails.application.try(:reload_routes_unless_loaded)
				else
					require @app
				end

				require "sidekiq/web"
			end

			def check_redis
				::Sidekiq.redis { |redis| redis.call("PING") }
			rescue StandardError => error
				raise BootError.new("Redis does not answer: #{error.message}", hint: "check REDIS_URL, or what the app gives to Sidekiq.configure_client")
			end

			def announce(server, port)
				host = @host.include?(":") ? "[#{@host}]" : @host
				puts "Sidekiq's Web UI is at http://#{host}:#{port}/ (Sidekiq #{::Sidekiq::VERSION}, #{server.name}); ctrl-C stops it"
				$stdout.flush
			end

			def rack_app
				guard, rails = WebGuard.new(@auth), rails?
				require "rack/builder"
				require "rack/session/cookie"

				::Rack::Builder.app do
					guard.add_to(self)
					use ::ActionDispatch::Executor, ::Rails.application.executor if rails
					# Cookies know no ports: a name of our own keeps those of the app's web process apart.
					use ::Rack::Session::Cookie, key: "gokiq.commands.web", secret: SecureRandom.hex(64), same_site: :strict, httponly: true
					run ::Sidekiq::Web
				end
			end

			def rails?
				defined?(::Rails.application) && !::Rails.application.nil?
			end

			def fail_boot(error, **details)
				failure = Failure.new(error, roots: [Dir.pwd, File.dirname(@app), @app]).to_h.merge(details)
				line = error.is_a?(BootError) ? failure[:message] : "the app failed to boot: #{failure[:error_class]}: #{failure[:message]}"
				line += " (#{failure[:at]})" if failure[:at] && !error.is_a?(BootError)
				hint = failure[:hint] || hint_for(error)
				warn("gokiq-fast: #{line}#{"; #{hint}" if hint}")
				exit!(1)
			end

			def hint_for(error)
				return unless error.is_a?(LoadError)

				case error.path
				when "rack/session/cookie" then "add the gem to the app's bundle: bundle add rack-session"
				when "sidekiq/web" then "add the gem to the app's bundle: bundle add sidekiq"
				end
			end
		end
	end
end
