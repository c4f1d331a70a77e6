# frozen_string_literal: true

# Serves Sidekiq's own Web UI to itself, and prints the status and the text of each tab as JSON.

require "json"
require "rack/mock_request"
require "rack/session"
require "sidekiq"
require "sidekiq/web"

app = Rack::Session::Cookie.new(Sidekiq::Web.new, secret: "x" * 64)

answers = ARGV.to_h do |path|
	answer = Rack::MockRequest.new(app).get(path, "HTTP_HOST" => "127.0.0.1")
	[path, {status: answer.status, body: answer.body}]
end

puts JSON.generate(answers)
