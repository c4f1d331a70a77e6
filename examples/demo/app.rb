# frozen_string_literal: true

# A small application without Rails: four Sidekiq jobs and an ActiveJob.
# Start a server for it with `gokiq-fast -r ./examples/demo/app.rb` or `sidekiq -r ./examples/demo/app.rb`.

require "sidekiq"
require "active_job"

require_relative "journal"

ActiveSupport::IsolatedExecutionState.isolation_level = :fiber
ActiveJob::Base.logger = nil
ActiveJob::Base.queue_adapter = :sidekiq

JOURNAL = Demo::Journal.new(ENV.fetch("DEMO_JOURNAL", "tmp/demo/journal"))

# Does nothing: what is left is the cost of running a job.
class NoopJob
	include Sidekiq::Job

	def perform
		JOURNAL.record(jid, self.class) {}
	end
end

# Waits, as a job does that calls another service.
class SleepJob
	include Sidekiq::Job

	# @parameter duration_ms [Integer]
	def perform(duration_ms)
		JOURNAL.record(jid, self.class) { sleep(duration_ms / 1000.0) }
	end
end

# Fails the first time it runs and succeeds when it is retried.
class FlakyJob
	include Sidekiq::Job

	# Seconds until the retry; Sidekiq adds up to nine more, at random.
	sidekiq_retry_in { 1 }

	def perform
		JOURNAL.record(jid, self.class) do
			raise "the first try fails on purpose" if JOURNAL.first?(jid)
		end
	end
end

# Is pushed to run some seconds later.
class ScheduledJob
	include Sidekiq::Job

	def perform
		JOURNAL.record(jid, self.class) {}
	end
end

# An ActiveJob; the jid of the Sidekiq job that carries it is its `provider_job_id`.
class GreetingJob < ActiveJob::Base
	# @parameter name [String]
	def perform(name)
		JOURNAL.record(provider_job_id, self.class) { "Hello, #{name}!" }
	end
end
