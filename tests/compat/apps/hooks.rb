# frozen_string_literal: true

# app.rb, with everything that an app can hang into Sidekiq, each saying that it was called.

require_relative "app"
require "tmpdir" # Sidekiq's profiler takes it for granted.

$LOAD_PATH.unshift(File.join(__dir__, "stubs"))
note("server?", Sidekiq.server? ? true : false)

Sidekiq.configure_client { |_config| note("configure", "client") }

# Says when a job passes, and what the job's context is then.
class Layer
	include Sidekiq::ServerMiddleware

	def initialize(name)
		@name = name
	end

	def call(instance, job, queue)
		note("layer", job["jid"], @name, "in", instance.class.name, queue, Sidekiq::Context.current)
		return if job["layer"] == "stop #{@name}"

		yield.tap { note("layer", job["jid"], @name, "out") }
	ensure
		note("layer", job["jid"], @name, "left", config.class.name, logger.equal?(config.logger), redis { |c| c.call("PING") })
	end
end

# Marks what is pushed.
class Stamp
	include Sidekiq::ClientMiddleware

	def initialize(name)
		@name = name
	end

	def call(job_class, job, queue, _pool)
		note("stamp", job["jid"], @name, job_class.to_s, queue)
		return false if job["args"] == ["stop #{@name}"]

		(job["stamps"] ||= []) << @name
		yield
	end
end

class OuterLayer < Layer; end
class OuterStamp < Stamp; end

Sidekiq.configure_server do |config|
	note("configure", "server")

	config.server_middleware do |chain|
		chain.add(Layer, "inner")
		chain.prepend(OuterLayer, "outer")
	end

	config.client_middleware do |chain|
		chain.add(Stamp, "inner")
		chain.prepend(OuterStamp, "outer")
	end

	config.error_handlers << lambda do |error, context, its_config|
		note("error 3", context[:job]&.fetch("jid", nil), error.message, context[:context], its_config.class.name, Sidekiq::Context.current)
	end
	config.error_handlers << proc { |error, context| note("error 2", context[:job]&.fetch("jid", nil), error.message) }
	config.error_handlers << ->(_error, _context, _config) { raise IOError, "a handler of errors fails" }

	if Sidekiq::VERSION.start_with?("7")
		config.error_handlers << ->(error, context) { note("error 2", context[:job]&.fetch("jid", nil), error.message) }
	end

	config.death_handlers << ->(job, error) { note("death", job["jid"], error.message, 1, Sidekiq::Context.current) }
	config.death_handlers << ->(_job, _error) { raise IOError, "a handler of deaths fails" }
	config.death_handlers << ->(job, error) { note("death", job["jid"], error.message, 3) }
end

# Ends well, with a value.
class ValueJob
	include Sidekiq::Job

	def perform(value)
		note("performed", jid, value)
		value
	end
end

# Pushes others: alone, in bulk, and for later.
class ParentJob
	include Sidekiq::Job

	def perform
		ValueJob.perform_async("alone")
		ValueJob.perform_async("stop inner")
		ValueJob.perform_bulk([["bulk 1"], ["stop outer"], ["bulk 2"]])
		ValueJob.perform_in(3600, "later")
		ValueJob.set(queue: "unread").perform_async("elsewhere")
		note("parent", jid)
	end
end

# Tells what it knows about its process.
class ProcessJob
	include Sidekiq::Job

	def perform
		tid = Thread.current["sidekiq_tid"]
		work = Sidekiq::Processor::WORK_STATE.dup[tid]
		note(
			"process", jid, Sidekiq.server? ? true : false, Sidekiq::CLI.instance.launcher.stopping?,
			_context.stopping?, Sidekiq.default_configuration[:identity], work&.fetch(:queue), Thread.current[:sidekiq_capsule]&.name,
			Sidekiq.redis { |c| c.call("PING") }
		)
	end
end

# Runs until its process takes no more jobs.
class UntilQuietJob
	include Sidekiq::Job

	def perform
		note("waits", jid)
		sleep(0.02) until Sidekiq::CLI.instance.launcher.stopping?
		note("quiet", jid, _context.stopping?, interrupted?)
	end
end

# Asks its process to be quiet, or to stop.
class LauncherJob
	include Sidekiq::Job

	def perform(order)
		Sidekiq::CLI.instance.launcher.public_send(order)
	end
end

# Tells its context, which nobody else's may be, before and after others have run.
class ContextJob
	include Sidekiq::Job

	def perform(index)
		Sidekiq::Context.add(:index, index)
		before = Sidekiq::Context.current.dup
		sleep(0.01 * (index % 5))
		Sidekiq::Context.with(inner: index) { sleep(0.01) && note("context", jid, before, Sidekiq::Context.current) }
		note("context after", jid, Sidekiq::Context.current)
	end
end

# Fails, with blocks that tell their context.
class ContextFailingJob
	include Sidekiq::Job

	sidekiq_retries_exhausted { |job, _error| note("exhausted", job["jid"], Sidekiq::Context.current.slice(:jid, :class)) }

	def perform(message)
		raise ArgumentError, message
	end
end

# Turns whatever ends it into an error of its own.
class TranslatingJob
	include Sidekiq::Job

	def perform
		note("translates", jid)
		sleep(60)
	rescue StandardError => error
		note("wrong", jid, error.class.name)
	rescue Exception => error
		note("right", jid, error.class.name)
		raise ArgumentError, "translated"
	end
end
