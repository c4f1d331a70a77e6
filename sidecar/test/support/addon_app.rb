# frozen_string_literal: true

# An application with a gem that hangs a scheduler into Sidekiq's launcher, as such gems do.

require "sidekiq"
require "sidekiq/launcher"

def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

# Ticks from start to stop.
module SchedulerAddon
	def initialize(config, **options)
		super
		@ticking = config
	end

	def run
		super
		note("ran pid=#{Process.pid} config=#{@ticking.class} logger=#{!logger.nil?}")
		@thread = Thread.new { sleep(0.02) && note("tick") until stopping? }
	end

	def quiet
		note("quiet")
		super
	end

	def stop
		note("stopped")
		super
	end
end

Sidekiq::Launcher.prepend(SchedulerAddon)
