# frozen_string_literal: true

# Its Redis is set in Ruby, by the expression in $TEST_REDIS; nothing is set without one.

require "openssl"
require "sidekiq"

if (options = ENV["TEST_REDIS"])
	# Sidekiq would mix it in.
	ENV.delete("REDIS_URL")
	Sidekiq.configure_server { |config| config.redis = eval(options) }
end

# Speaks with Redis as the app does.
class PingJob
	include Sidekiq::Job

	def perform(key)
		Sidekiq.redis { |redis| redis.set(key, "ponged") }
	end
end
