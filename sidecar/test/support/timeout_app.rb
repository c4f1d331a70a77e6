# frozen_string_literal: true

# An application whose jobs take too long, each in another way.

require "sidekiq"

def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

# Waits.
class SleepyJob
	include Sidekiq::Job

	def perform(seconds)
		sleep(seconds)
	rescue => error
		note("#{self.class} rescued")
	ensure
		note("#{self.class} ensured")
	end
end

# The same in a real thread.
class SleepyThreadJob < SleepyJob
	sidekiq_options "gokiq_lane" => "thread"
end

# Computes for ever.
class LoopingJob
	include Sidekiq::Job

	def perform
		nil while true
	end
end

# Does not listen.
class UnbreakableJob
	include Sidekiq::Job

	def perform(seconds)
		stop = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
		Thread.handle_interrupt(Interrupt => :never) { nil while Process.clock_gettime(Process::CLOCK_MONOTONIC) < stop }
	end
end

# Stops when it is asked to.
class ListeningJob
	include Sidekiq::Job

	def perform
		sleep(0.02) until interrupted?
	rescue Gokiq::JobTimeout
		note("late")
		raise
	end
end
