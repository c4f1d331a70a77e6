# frozen_string_literal: true

# The application of the differential test: jobs that end in every way there is, and handlers that write down what they
# were told. It must not depend on anything but the job itself, so that two servers can be compared.

require "json"
require "tmpdir"
require "sidekiq"
require "active_job"

require_relative "fate"

ActiveSupport::IsolatedExecutionState.isolation_level = :fiber
ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = nil
GlobalID.app = "differential"

# Bear witness: one line of JSON. What is no UTF-8 is told as Ruby shows it.
def note(kind, *values)
	line = begin
		JSON.generate([kind, *values])
	rescue JSON::GeneratorError
		JSON.generate([kind, values.inspect.scrub])
	end

	File.open(ENV.fetch("TEST_NOTES"), "a") { |file| file.syswrite(line + "\n") }
end

# A job as handlers see it, without the clocks.
def shown(job)
	return job unless job.is_a?(Hash)

	clocks = %w[failed_at retried_at discarded_at]
	job.map { |key, value| [key, clocks.include?(key) ? value.class.name : value] } - [["args", job["args"]]]
end

def told(error)
	[error.class.name, error.message.to_s.dup.force_encoding(Encoding::UTF_8).scrub[0, 100], error.cause&.class&.name]
rescue StandardError => worse
	[error.class.name, "its message raises #{worse.class}", nil]
end

# Does what the job asks for.
class Obedience
	include Sidekiq::ServerMiddleware

	def call(instance, job, queue)
		note("middleware", job["jid"], instance.class.name, queue, Sidekiq::Context.current.except(:elapsed))

		case job["middleware"]
		when "stop" then return
		when "raise" then raise IOError, "middleware"
		when "mutate" then job.update("args" => ["mutated"], "added" => 1, "retry" => false)
		when "handled" then raise Sidekiq::JobRetry::Handled, "handled"
		when "skip" then raise Sidekiq::JobRetry::Skip, "skip"
		end

		yield.tap { raise IOError, "too late" if job["middleware"] == "raise after" }
	end
end

# Every push of this process, a due job's included.
class Stamp
	include Sidekiq::ClientMiddleware

	def call(job_class, job, queue, _pool)
		note("client", job["jid"], job_class.to_s, queue)
		return if job["client"] == "stop"
		raise IOError, "client" if job["client"] == "raise"

		job["stamp"] = "é"
		yield
	end
end

Sidekiq.configure_server do |config|
	config[:poll_interval_average] = 0.3
	config.logger.level = ENV["DIFFERENTIAL_LEVEL"] if ENV.key?("DIFFERENTIAL_LEVEL")
	config[:dead_max_jobs] = 60
	config.server_middleware { |chain| chain.add(Obedience) }
	config.death_handlers << ->(job, error) { note("death", shown(job), told(error)) }
	config.death_handlers << ->(job, _error) { raise IOError, "death handler" if job["death"] == "raise" }
	config.error_handlers << lambda do |error, context, _config|
		rest = context.except(:context, :job, :jobstr)
		note("error", told(error), context[:context], shown(context[:job]), context[:jobstr].to_s.scrub, rest.keys)
	end
end

# With middleware on the way in, too: a due job passes it again.
if ENV["DIFFERENTIAL_CLIENT"]
	require "active_support/current_attributes"
	require "sidekiq/middleware/current_attributes"
	require "sidekiq/middleware/i18n"

	I18n.available_locales = [:en, :de]

	class Current < ActiveSupport::CurrentAttributes
		attribute :user
	end

	Sidekiq::CurrentAttributes.persist("Current")
	Sidekiq.configure_server { |config| config.client_middleware { |chain| chain.add(Stamp) } }

	# Tells what it is surrounded by.
	class AttributesJob
		include Sidekiq::Job

		def perform(way = nil)
			note("attributes", jid, Current.user, I18n.locale)
			raise ArgumentError, way if way
		end
	end
end

# Ends well.
class PlainJob
	include Sidekiq::Job

	def perform(*arguments)
		note("performed", jid, arguments.inspect, logger.debug?)
	end
end

class NoPerformJob
	include Sidekiq::Job
end

class TwoArgumentsJob
	include Sidekiq::Job

	def perform(one, two)
	end
end

class NoNewJob
	include Sidekiq::Job

	def initialize
		raise IOError, "no instance"
	end
end

class ChildOfJob < PlainJob
	sidekiq_options retry: 5, tags: ["child"], backtrace: false
end

module Deep
	class NestedJob < PlainJob
	end
end

# An error that cannot say what it is.
class SpeechlessError < StandardError
	def message
		raise IOError, "no message"
	end
end

class NilMessageError < StandardError
	def message
	end
end

class SymbolMessageError < StandardError
	def message
		:symbol
	end
end

# Fails in the way that it is told.
class RaisingJob
	include Sidekiq::Job

	WAYS = {
		"plain" => -> { raise ArgumentError, "plain" },
		"exit" => -> { exit },
		"exit 3" => -> { exit(3) },
		"abort" => -> { abort },
		"throw" => -> { throw :nobody },
		"interrupt" => -> { raise Interrupt, "ctrl c" },
		"system exit" => -> { raise SystemExit },
		"signal" => -> { raise SignalException, "TERM" },
		"memory" => -> { raise NoMemoryError, "full" },
		"security" => -> { raise SecurityError, "no" },
		"script" => -> { raise NotImplementedError, "later" },
		"load" => -> { require "no/such/file" },
		"syntax" => -> { eval("1 +") },
		"stack" => -> { deep = -> { deep.call }; deep.call },
		"exception" => -> { raise Exception, "bare" },
		"stop iteration" => -> { raise StopIteration, "end" },
		"break" => -> { eval("proc { break }").call },
		"anonymous" => -> { raise Class.new(StandardError), "nobody" },
		"bytes" => -> { raise ArgumentError, "caf\xE9 \xFF" },
		"latin" => -> { raise ArgumentError, "café".encode(Encoding::ISO_8859_1) },
		"utf-16" => -> { raise ArgumentError, "wide".encode(Encoding::UTF_16LE) },
		"binary" => -> { raise ArgumentError, "caf\xC3\xA9".b },
		"frozen" => -> { raise ArgumentError, "frozen" },
		"huge" => -> { raise ArgumentError, "é" * 12_000 },
		"empty" => -> { raise ArgumentError, "" },
		"lines" => -> { raise ArgumentError, "one\ntwo\u2028three\u0000\u001f\"\\/" },
		"speechless" => -> { raise SpeechlessError },
		"nil message" => -> { raise NilMessageError },
		"symbol message" => -> { raise SymbolMessageError },
		"no backtrace" => -> { raise ArgumentError.new("bare").tap { |error| error.set_backtrace(nil) } },
		"handled" => -> { raise Sidekiq::JobRetry::Handled, "handled" },
		"skip" => -> { raise Sidekiq::JobRetry::Skip, "skip" },
		"timeout" => -> { Timeout.timeout(0.05) { sleep 30 } },
		"cause" => lambda do
			raise KeyError, "inner"
		rescue KeyError
			raise ArgumentError, "outer"
		end,
		"circle" => lambda do
			one = ArgumentError.new("one")
			begin
				raise KeyError, "two", cause: one
			rescue KeyError => two
				raise one, cause: two rescue raise(two)
			end
		end,
	}.freeze

	def perform(way)
		WAYS.fetch(way).call
	end
end

# Says itself when it is to be tried again.
class RetryInJob
	include Sidekiq::Job

	ANSWERS = {
		"integer" => 120, "float" => 100.7, "text" => "120", "text float" => "120.9", "zero" => 0, "negative" => -1, "nil" => nil,
		"default" => :default, "discard" => :discard, "kill" => :kill, "odd" => :odd, "true" => true, "array" => [5],
		"huge" => 10**9, "discard text" => "discard"
	}.freeze

	sidekiq_retry_in do |count, error, job|
		note("retry in", count, told(error), shown(job))
		raise IOError, "retry in" if error.message == "raise"
		raise NoMemoryError, "retry in" if error.message == "raise hard"
		next ActiveSupport::Duration.build(90) if error.message == "duration"

		ANSWERS.fetch(error.message)
	end

	sidekiq_retries_exhausted { |job, error| note("exhausted", shown(job), told(error)) }

	def perform(way)
		raise ArgumentError, way
	end
end

# Has something to say at its end.
class ExhaustedJob
	include Sidekiq::Job

	sidekiq_options retry: 0

	sidekiq_retries_exhausted do |job, error|
		note("exhausted", shown(job), told(error))
		case error.message
		when "mutate" then job.update("last" => "é", "args" => [error.message.upcase])
		when "dead false" then job["dead"] = false
		when "raise" then raise IOError, "exhausted"
		when "discard" then :discard
		end
	end

	def perform(way)
		raise ArgumentError, way
	end
end

# By way of ActiveJob.
class GreetJob < ActiveJob::Base
	retry_on KeyError, wait: 3600, attempts: 3, jitter: 0
	discard_on RangeError

	def perform(name)
		note("greeted", name, executions, provider_job_id)
		raise ArgumentError, name if name == "plain"
		raise KeyError, name if name == "retry on"
		raise RangeError, name if name == "discard on"
	end
end

# With Sidekiq's own rules.
class RuledJob < ActiveJob::Base
	include Sidekiq::Job::Options

	sidekiq_options retry: 2

	sidekiq_retry_in do |count, error, job|
		note("retry in", count, told(error), shown(job))
		error.message == "kill" ? :kill : 77
	end

	sidekiq_retries_exhausted { |job, error| note("exhausted", shown(job), told(error)) }

	def perform(way)
		raise ArgumentError, way
	end
end

# Works through a list.
class ListJob
	include Sidekiq::IterableJob

	def build_enumerator(count, cursor:)
		count && array_enumerator((1..count).to_a, cursor: cursor)
	end

	def each_iteration(item, count)
		note("iteration", jid, item)
		raise ArgumentError, "third" if count == 3 && item == 3
	end

	def on_start = note("list", "start")
	def on_resume = note("list", "resume")
	def on_stop = note("list", "stop")
	def on_complete = note("list", "complete")
end
