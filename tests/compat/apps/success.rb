# frozen_string_literal: true

# app.rb, with ActiveJob and the middleware that carries attributes and locales from process to process.

require_relative "app"
require "active_job"
require "active_support/current_attributes"
require "sidekiq/middleware/current_attributes"
require "sidekiq/middleware/i18n"

ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = nil
I18n.available_locales = %i[en de fr]

# What a request knows.
class Current < ActiveSupport::CurrentAttributes
	attribute :user
end

Sidekiq::CurrentAttributes.persist("Current")

# Tells its arguments as Ruby sees them.
class ArgumentsJob
	include Sidekiq::Job

	def perform(*arguments)
		note("arguments", jid, arguments.inspect)
	end
end

# Takes no arguments.
class NoArgumentsJob
	include Sidekiq::Job

	def perform
		note("arguments", jid, "none")
	end
end

# Logs at two levels, and lets others run between them.
class LoggingJob
	include Sidekiq::Job

	def perform
		logger.debug { "seen by #{jid} at debug" }
		sleep(0.05)
		logger.info { "seen by #{jid} at info" }
		logger.debug { "seen again by #{jid} at debug" }
		note("logged", jid)
	end
end

# Tells what surrounds it, before and after others have run; pushes a child that tells the same.
class SurroundedJob
	include Sidekiq::Job

	def perform(pause, child = nil)
		before = [Current.user, I18n.locale]
		sleep(pause)
		note("surrounded", jid, before, [Current.user, I18n.locale])
		SurroundedJob.perform_async(pause) if child
	end
end

# Tells how ActiveJob calls it.
class ProvidedJob < ActiveJob::Base
	def perform(name)
		note("provided", provider_job_id, job_id, name, executions)
	end
end

# Asks ActiveJob to try again in an hour.
class RetryOnJob < ActiveJob::Base
	retry_on KeyError, wait: 3600, attempts: 3, jitter: 0
	discard_on ArgumentError

	def perform(way)
		note("tried", provider_job_id, job_id, executions)
		raise KeyError, way if way == "retry on"
		raise ArgumentError, way if way == "discard on"
	end
end
