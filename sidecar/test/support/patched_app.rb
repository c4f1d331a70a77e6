# frozen_string_literal: true

# An application that changes how Sidekiq polls and beats.

require "sidekiq"
require "sidekiq/launcher"

def note(text)
	File.open(ENV.fetch("GOKIQ_NOTES"), "a") { |file| file.syswrite("#{text}\n") }
end

# Waits before each poll.
module Slow
	def enqueue
		sleep(1)
		super
	end
end

# Says when the heart beats.
module Heartbeat
	def run(**)
		super
		note("ran")
	end

	private

	def beat
		note("before beat")
		super
		note("after beat")
	end
end

Sidekiq::Scheduled::Poller.prepend(Slow)
Sidekiq::Launcher.prepend(Heartbeat)
Sidekiq.configure_server { |config| config.on(:beat) { note("event") } }
