# frozen_string_literal: true

# Push the demo's jobs with the unmodified Sidekiq client and write down what was pushed.
#
# usage: enqueue.rb PLAN JIDS
#   PLAN  JSON: {"noop": n, "sleep": n, "flaky": n, "scheduled": n, "activejob": n, "paced": n}
#   JIDS  file to write, a line per job: KIND JID MONOTONIC_MS, the time just before it was pushed
#
# The `paced` no-ops wait for a line on the standard input and then go one at a time.

require "json"

require_relative "app"

# Pushes a plan in rounds, so that kinds are mixed in the queue.
class Enqueuer
	ROUNDS = 20
	SLEEP_MS = (50..200)
	SCHEDULED_S = 3
	PACE_S = 0.005

	# @parameter plan [Hash(String, Integer)] jobs of each kind.
	# @parameter output [IO] where the jids go.
	def initialize(plan, output)
		@plan = plan
		@output = output
		# The same durations each time:
		@random = Random.new(1)
	end

	# Push everything but the paced jobs.
	def push_all
		ROUNDS.times do |round|
			push("noop", share("noop", round)) { |count| NoopJob.perform_bulk([[]] * count) }
			push("sleep", share("sleep", round)) { |count| SleepJob.perform_bulk(Array.new(count) { [@random.rand(SLEEP_MS)] }) }
			push("flaky", share("flaky", round)) { |count| FlakyJob.perform_bulk([[]] * count) }
			push("activejob", share("activejob", round)) { |count| greet(count) }
		end
		push("scheduled", @plan.fetch("scheduled")) do |count|
			Sidekiq::Client.push_bulk("class" => ScheduledJob, "args" => [[]] * count, "at" => Time.now.to_f + SCHEDULED_S)
		end
		@output.flush
	end

	# Push the paced jobs.
	def push_paced
		@plan.fetch("paced").times do
			push("noop", 1) { [NoopJob.perform_async] }
			sleep(PACE_S)
		end
		@output.flush
	end

	private

	def push(kind, count)
		return if count.zero?

		at_ms = Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond).round(3)
		jids = yield(count)
		raise "pushed #{jids.compact.size} of #{count} #{kind} jobs" unless jids.compact.size == count

		jids.each { |jid| @output.write("#{kind} #{jid} #{at_ms}\n") }
	end

	# How many of a kind go in this round: all of them, spread evenly.
	def share(kind, round)
		total = @plan.fetch(kind)
		total * (round + 1) / ROUNDS - total * round / ROUNDS
	end

	# One by one: `perform_all_later` does not tell the jids.
	def greet(count)
		Array.new(count) { |index| GreetingJob.perform_later("reader #{index}").provider_job_id }
	end
end

# The demo counts the server's connections to Redis and must know which one is ours:
Sidekiq.redis { |connection| connection.call("CLIENT", "SETNAME", "enqueuer") }

File.open(ARGV.fetch(1), "w") do |output|
	enqueuer = Enqueuer.new(JSON.parse(ARGV.fetch(0)), output)
	enqueuer.push_all
	puts "pushed"
	$stdout.flush
	next unless $stdin.gets

	enqueuer.push_paced
	puts "paced"
end
