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

# Adds it late.
class AddingJob
	include Sidekiq::Job

	def perform
		Sidekiq.default_configuration.client_middleware { |chain| chain.add(LaneMiddleware) }
	end
end

Sidekiq.configure_server do |config|
	case ENV["ADDED"]
	when "startup" then config.on(:startup) { AddingJob.new.perform }
	when nil then AddingJob.new.perform
	end
end
