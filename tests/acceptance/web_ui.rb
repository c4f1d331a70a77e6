# frozen_string_literal: true

# Serves Sidekiq's own Web UI on a free port of the loopback interface, as an app that mounts it would. Prints one line
# of JSON: the port, and where the gem's scripts and stylesheets lie.

require "json"
require "puma"
require "puma/server"
require "rack/builder"
require "rack/session"
require "sidekiq"
require "sidekiq/web"

app = Rack::Builder.app do
	use Rack::Session::Cookie, secret: "x" * 64, same_site: true
	run Sidekiq::Web
end

server = Puma::Server.new(app, nil, min_threads: 1, max_threads: 4)
port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
puts JSON.generate(port: port, assets: Sidekiq::Web::ASSETS)
$stdout.flush
trap("TERM") { exit }
server.run.join
