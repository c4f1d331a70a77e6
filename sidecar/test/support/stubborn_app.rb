# frozen_string_literal: true

# The small application, with a handler that takes long and a job that does not stop.

require_relative "plain_app"

Sidekiq.configure_server do |config|
	config.on(:shutdown) { sleep(20) }
end

# Says that it is still there.
class TickingJob
	include Sidekiq::Job

	def perform(name)
		note("#{name} started")
		tick while true
	end

	private

	def tick
		sleep(0.1)
		note("tick")
	rescue Sidekiq::Shutdown
		# Does not stop.
	end
end
