# frozen_string_literal: true

require_relative "../errors"

module Gokiq
	module Sidecar
		# The HTTP servers that can serve the Web UI. Each is called with a Rack application, a listening TCPServer and an IO
		# that becomes readable when it is time to stop; it returns when the requests at hand are answered.
		module WebServer
			# @parameter name [String | Nil] The one to take; otherwise the first that the application's bundle has.
			# @parameter known [Array(Server)] Those to choose from.
			# @raises [BootError] If it, or any, is missing.
			def self.find(name = nil, known: ALL)
				wanted = known.select { |server| name.nil? || server.name == name }
				wanted.find(&:available?) or raise BootError.new(
					"the app has no web server: #{wanted.map(&:name).join(", ")} cannot be loaded",
					hint: "add one to its bundle: bundle add #{wanted.first.name}",
				)
			end

			# What they share: a name, and what is to be required.
			Server = Struct.new(:name, :files, :serve) do
				def available?
					files.each { |file| require file }
					true
				rescue LoadError
					false
				end

				def call(app, listener, stop)
					serve.call(app, listener, stop)
				end
			end

			PUMA = Server.new("puma", %w[puma puma/server], lambda do |app, listener, stop|
				# Without the app's config/puma.rb, which is for its own web process.
				server = ::Puma::Server.new(app, nil, min_threads: 0, max_threads: 5)
				server.binder.inherit_tcp_listener(nil, nil, listener)
				server.run
				stop.wait_readable
				server.stop(true)
			end)

			# The parts that Falcon is made of.
			FALCON = Server.new("falcon", %w[async async/http protocol/rack io/endpoint/bound_endpoint], lambda do |app, listener, stop|
				http = ::Async::HTTP::Endpoint.parse("http://localhost")
				socket = ::Socket.for_fd(listener.fileno)
				socket.autoclose = false
				bound = ::IO::Endpoint::BoundEndpoint.new(http, [socket])
				server = ::Async::HTTP::Server.new(::Protocol::Rack::Adapter.new(app), bound, protocol: http.protocol, scheme: http.scheme)

				Sync do |task|
					serving = task.async { server.run }
					stop.wait_readable
					serving.stop
				end
			end)

			WEBRICK = Server.new("webrick", %w[webrick rackup/handler/webrick], lambda do |app, listener, stop|
				quiet = ::WEBrick::Log.new($stderr, ::WEBrick::Log::WARN)
				server = ::WEBrick::HTTPServer.new(DoNotListen: true, Logger: quiet, AccessLog: [])
				server.listeners << listener
				server.mount("/", ::Rackup::Handler::WEBrick, app)
				Thread.new do
					stop.wait_readable
					server.shutdown
				end
				server.start
			end)

			ALL = [PUMA, FALCON, WEBRICK].freeze
		end
	end
end
