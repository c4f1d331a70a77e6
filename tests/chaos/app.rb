# frozen_string_literal: true

# Jobs of the fault tests: each bears witness outside of the Redis under test.

require "sidekiq"
require_relative "../../examples/demo/journal"

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))

# A clock that is wrong by so many seconds.
if (offset = ENV["TEST_CLOCK_OFFSET"]&.to_i)
	UNITS = {float_second: 1.0, second: 1, millisecond: 1000, float_millisecond: 1000.0, microsecond: 10**6, nanosecond: 10**9}.freeze

	Process.singleton_class.prepend(Module.new do
		define_method(:clock_gettime) do |id, unit = :float_second|
			id == Process::CLOCK_REALTIME ? super(id, unit) + offset * UNITS.fetch(unit) : super(id, unit)
		end
	end)
	Time.singleton_class.prepend(Module.new do
		define_method(:now) { |**options| super(**options) + offset }
	end)
end

# While that file is there, no process can be made.
if (switch = ENV["TEST_NO_FORK"])
	Process.singleton_class.prepend(Module.new do
		define_method(:fork) { |&block| File.exist?(switch) ? raise(Errno::EAGAIN, "fork(2)") : super(&block) }
	end)
end

# "bad", the seconds that it takes, or a file that makes it bad.
case boot = ENV.fetch("TEST_BOOT", "0")
when /\A\d+\z/ then sleep(Integer(boot))
else raise "a bad deploy" if boot == "bad" || File.exist?(boot)
end

Sidekiq.configure_server do |config|
	if (sentinel = ENV["TEST_SENTINEL"])
		name, host, port = sentinel.split
		config.redis = {name: name, url: ENV.fetch("REDIS_URL"), sentinels: [{host: host, port: Integer(port)}]}
	end
	config[:average_scheduled_poll_interval] = 1
	config.logger.level = Logger::WARN
end

# Ends well at once.
class QuickJob
	include Sidekiq::Job

	def perform(*)
		JOURNAL.record(jid, self.class) {}
	end
end

# Waits, as jobs do.
class SleepJob
	include Sidekiq::Job

	def perform(seconds)
		JOURNAL.record(jid, self.class) { sleep(seconds) }
	end
end

# The same in a real thread.
class ThreadJob < SleepJob
	sidekiq_options "gokiq_lane" => "thread"
end

# Fails the first time.
class FlakyJob
	include Sidekiq::Job

	sidekiq_retry_in { 1 }

	def perform(seconds = 0)
		JOURNAL.record(jid, self.class) do
			sleep(seconds)
			raise "not yet" if JOURNAL.first?(jid)
		end
	end
end

# Fails for good.
class DoomedJob
	include Sidekiq::Job

	def perform(seconds = 0)
		JOURNAL.record(jid, self.class) do
			sleep(seconds)
			raise "never"
		end
	end
end

# Computes without waiting for anything.
class BusyJob
	include Sidekiq::Job

	def perform(seconds)
		JOURNAL.record(jid, self.class) do
			stop = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
			nil while Process.clock_gettime(Process::CLOCK_MONOTONIC) < stop
		end
	end
end

# Does not let anything be raised in it.
class EndlessJob
	include Sidekiq::Job

	def perform
		JOURNAL.record(jid, self.class) { Thread.handle_interrupt(Object => :never) { nil while true } }
	end
end

# Five connections for a whole worker, and half a second's patience.
if (path = ENV["TEST_DATABASE"])
	require "active_record"
	ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: path, pool: 5, checkout_timeout: 0.5)

	# Holds one for as long as a slow database takes.
	class DatabaseJob
		include Sidekiq::Job

		def perform(seconds)
			JOURNAL.record(jid, self.class) do
				ActiveRecord::Base.connection_pool.with_connection do |connection|
					connection.execute("SELECT 1")
					sleep(seconds)
				end
			end
		end
	end
end

# Keeps so many megabytes for good.
class GrowJob
	include Sidekiq::Job

	KEPT = []

	def perform(megabytes)
		JOURNAL.record(jid, self.class) { KEPT << "x" * (megabytes * 1_000_000) }
	end
end

# Ends, or tries to end, the process that it runs in.
class DeadlyJob
	include Sidekiq::Job

	def perform(how)
		JOURNAL.record(jid, self.class) do
			case how
			when "exit" then exit
			when "exit!" then exit!(3)
			when "abort" then abort("enough")
			when "throw" then throw(:nobody_catches)
			when "memory" then raise NoMemoryError, "as if"
			when "stack" then perform_deeper(0)
			when "exception" then raise Exception, "not standard"
			else Process.kill(how, Process.pid) && sleep
			end
		end
	end

	private

	def perform_deeper(depth)
		perform_deeper(depth + 1) + 1
	end
end
