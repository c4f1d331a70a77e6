# frozen_string_literal: true

# An application whose client middleware says where it runs, after it has waited.

require "sidekiq"

# Adds a field to every job.
class LaneMiddleware
	def call(_class, job, _queue, _pool)
		sleep(0.01)
		job["lane"] = Thread.current == Thread.main ? "main" : "other"
		yield
	end
end

Sidekiq.configure_server { |config| config.client_middleware { |chain| chain.add(LaneMiddleware) } }
