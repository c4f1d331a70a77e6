# frozen_string_literal: true

# A small application without Rails, for sidecars in processes of their own.

require "sidekiq"

# Appends a line where the test reads it.
def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

Sidekiq.configure_server do |config|
	%i[startup heartbeat beat quiet shutdown exit].each do |event|
		next unless config[:lifecycle_events].key?(event)

		config.on(event) { note("event #{event} first") }
		config.on(event) { note("event #{event} second") }
	end
end

Sidekiq.configure_server { |config| config.on(:startup) { note("leader pid=#{Process.pid}") } }

note("server #{Sidekiq.server? ? true : false}")

# Says that it ran, and where.
class NoteJob
	include Sidekiq::Job

	def perform(text)
		note("#{text} pid=#{Process.pid} main=#{Thread.current == Thread.main} context=#{!_context.nil?}")
	end
end

# The same in a real thread.
class ThreadJob < NoteJob
	sidekiq_options "gokiq_lane" => "thread"
end

# Says how many connections its capsule may have.
class PoolJob
	include Sidekiq::Job

	def perform
		note("pool of #{Thread.current[:sidekiq_capsule].redis_pool.size}")
	end
end

# Waits as jobs do.
class SleepJob
	include Sidekiq::Job

	def perform(name, seconds)
		note("#{name} started")
		sleep(seconds)
		note("#{name} finished")
	ensure
		note("#{name} over")
	end
end

# The same in a real thread.
class ThreadSleepJob < SleepJob
	sidekiq_options "gokiq_lane" => "thread"
end

# Lets nothing else run.
class BusyJob
	include Sidekiq::Job

	def perform(name, seconds)
		note("#{name} started")
		deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
		nil while Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
	end
end

# Stops when it is asked to.
class PatientJob
	include Sidekiq::Job

	def perform(name)
		note("#{name} started")
		sleep(0.005) until _context.stopping?
		note("#{name} asked")
	end
end

# Does not end when it is told to.
class StubbornJob
	include Sidekiq::Job

	def perform(name)
		note("#{name} started")
		begin
			sleep
		rescue Sidekiq::Shutdown
			sleep
		end
	end
end

# Fails.
class RaiseJob
	include Sidekiq::Job

	def perform(message)
		raise ArgumentError, message
	end
end
