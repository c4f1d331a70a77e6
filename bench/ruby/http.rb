# frozen_string_literal: true

# Jobs that ask an HTTP server, each over a connection of its own, as Net::HTTP does unless told otherwise.

require "net/http"

require_relative "server"

# Asks the server of `bench/slow_http.py`.
class HttpJob
	include Sidekiq::Job

	# @parameter index [Integer]
	def perform(index)
		response = Net::HTTP.get_response(URI(ENV.fetch("BENCH_HTTP_URL")))
		raise "HTTP #{response.code}" unless response.is_a?(Net::HTTPOK)
		SLOTS.done(index)
	end
end
