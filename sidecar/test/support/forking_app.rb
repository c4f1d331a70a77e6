# frozen_string_literal: true

require "sidekiq"

# Appends a line where the test reads it.
def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

Sidekiq.configure_server do |config|
	config.logger = Sidekiq::Logger.new("#{ENV.fetch("GOKIQ_SOCKET")}.log")
	config.on(:startup) { note("leader pid=#{Process.pid}") }
end

# Has a child that sleeps.
class ForkJob
	include Sidekiq::Job

	def perform(seconds)
		pid = fork do
			sleep(seconds)
			note("child is over")
		end
		note("child #{pid}")
		Process.wait(pid)
		note("parent is over")
	end
end

# Has a child that goes on as the job.
class LostForkJob
	include Sidekiq::Job

	def perform
		pid = fork
		note("child #{pid}") if pid
	end
end

# Starts a program.
class SpawnJob
	include Sidekiq::Job

	def perform(seconds)
		pid = spawn("sleep", seconds.to_s)
		note("child #{pid}")
		Process.wait(pid)
	end
end

# Waits, as plain jobs do.
class PlainJob
	include Sidekiq::Job

	def perform(text, seconds)
		sleep(seconds)
		note(text)
	end
end
