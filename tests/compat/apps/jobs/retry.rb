# frozen_string_literal: true

# Fails in the way that it is told.
class RaisingJob
	include Sidekiq::Job

	WAYS = {
		"exit" => -> { exit },
		"exit!" => -> { abort("over") },
		"throw" => -> { throw :nobody },
		"anonymous" => -> { raise Class.new(StandardError), "nobody" },
		"invalid" => -> { raise ArgumentError, "caf\xE9 \xFF!" },
		"huge" => -> { raise ArgumentError, "é" * 12_000 },
		"speechless" => -> { raise Class.new(ArgumentError) { def message = raise(IOError, "no message") } },
		"skip" => -> { raise Sidekiq::JobRetry::Skip, "skip" },
		"handled" => -> { raise Sidekiq::JobRetry::Handled, "handled" },
		"cause" => lambda do
			raise KeyError, "inner"
		rescue KeyError
			raise ArgumentError, "outer"
		end,
	}.freeze

	def perform(way = "plain", *)
		JOURNAL.record(jid, self.class) { WAYS.fetch(way) { -> { raise ArgumentError, way } }.call }
	end
end

# Says nothing about retries in its payload, only here.
class FiveTimesJob < RaisingJob
	sidekiq_options retry: 5
end

# Says itself when it is to be tried again: what its argument names.
class RetryInJob
	include Sidekiq::Job

	ANSWERS = {
		"120" => 120, "text" => "120", "120.9" => 120.9, "zero" => 0, "negative" => -1, "nil" => nil, "default" => :default,
		"odd" => :odd, "kill" => :kill, "discard" => :discard
	}.freeze

	sidekiq_retry_in do |count, error, job|
		note("retry in", job["jid"], count, error.message, job["retry_count"])
		raise IOError, "retry in" if error.message == "raise"

		ANSWERS.fetch(error.message)
	end

	sidekiq_retries_exhausted { |job, error| note("exhausted", job["jid"], error.class.name, error.message) }

	def perform(answer)
		raise ArgumentError, answer
	end
end

# Has something to say at its end.
class ExhaustedJob
	include Sidekiq::Job

	sidekiq_retries_exhausted do |job, error|
		note("exhausted", job["jid"], error.class.name, error.message)
		case error.message
		when "mutate" then job.update("last" => "é", "args" => ["mutated"])
		when "discard" then :discard
		when "raise" then raise IOError, "exhausted"
		end
	end

	def perform(way)
		raise ArgumentError, way
	end
end
