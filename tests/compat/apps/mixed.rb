# frozen_string_literal: true

# The application of the mixed fleet: jobs of every kind that bear witness about themselves, whoever runs them.

require "json"
require "sidekiq"
require "active_job"
require_relative "../../../examples/demo/journal"

ActiveSupport::IsolatedExecutionState.isolation_level = :fiber
ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = nil

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))

# One line of JSON, from any process.
def note(*values)
	File.open(File.join(ENV.fetch("TEST_JOURNAL"), "notes"), "a") { |file| file.syswrite(JSON.generate(values) + "\n") }
end

# What no Sidekiq knows and every one has to carry along.
CARGO = {"deep" => [1, nil, 2**70, "é\u2028", {"f" => 0.1}]}.freeze

# On the way in: the cargo, and a count of the pushes.
class Load
	include Sidekiq::ClientMiddleware

	def call(_class, job, _queue, _pool)
		job["cargo"] ||= CARGO
		job["pushes"] = job["pushes"].to_i + 1
		yield
	end
end

# Around every run: how it ended, and whether all of the cargo was there.
class Witness
	include Sidekiq::ServerMiddleware

	def call(_instance, job, _queue)
		# The first push, and one for each time that it was due.
		note("damaged", job) unless job["cargo"] == CARGO && job["pushes"].to_i > job["retry_count"].to_i
		JOURNAL.record(job["jid"], job["wrapped"] || job["class"]) { job["cancel"] || yield }
	end
end

# The test has no time for the jitter of retries.
module Prompt
	private

	def rand(*)
		0
	end
end

Sidekiq::JobRetry.prepend(Prompt) if Sidekiq.server?

Sidekiq.configure_client do |config|
	config.client_middleware { |chain| chain.add(Load) }
end

Sidekiq.configure_server do |config|
	config.concurrency = 6
	config.queues = %w[critical,3 default,2 low,1]
	config.capsule("single") do |capsule|
		capsule.concurrency = 1
		capsule.queues = %w[single]
	end
	config[:poll_interval_average] = 0.5
	config.client_middleware { |chain| chain.add(Load) }
	config.server_middleware { |chain| chain.add(Witness) }
	config.death_handlers << ->(job, _error) { note("death", job["jid"]) }
end

# Takes its time.
class PlainJob
	include Sidekiq::Job

	def perform(seconds)
		sleep(seconds)
	end
end

# Longer than a server waits when it is told to stop.
class LongJob < PlainJob
end

# Fails in its first run.
class FlakyJob
	include Sidekiq::Job

	sidekiq_retry_in { 1 }

	def perform(seconds)
		sleep(seconds)
		raise ArgumentError, "nöt yet" if JOURNAL.first?(jid)
	end
end

# Never ends well.
class HopelessJob < FlakyJob
	sidekiq_options retry: 1, backtrace: 2, tags: ["hopeless"]
	sidekiq_retry_in { 1 }
	sidekiq_retries_exhausted { |job, _error| job["last_words"] = "é" }

	def perform
		raise ArgumentError, "never"
	end
end

# Is given up by its own rule.
class DiscardedJob
	include Sidekiq::Job

	sidekiq_retry_in do |_count, _error, job|
		note("discard", job["jid"])
		:discard
	end

	def perform
		raise ArgumentError, "discard"
	end
end

# Has one chance.
class OnceJob
	include Sidekiq::Job

	sidekiq_options retry: false

	def perform
		raise ArgumentError, "once"
	end
end

# Goes on elsewhere when its server is told to stop.
class ListJob
	include Sidekiq::IterableJob

	def build_enumerator(count, cursor:)
		array_enumerator((1..count).to_a, cursor: cursor)
	end

	def each_iteration(item, _count)
		sleep(0.1)
		note("item", jid, item)
	end
end

# By way of ActiveJob.
class ActiveGreeting < ActiveJob::Base
	def perform(seconds)
		sleep(seconds)
	end
end
