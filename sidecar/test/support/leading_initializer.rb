# frozen_string_literal: true

# A file all of whose handlers are about a scheduler that is not of a known gem.
Sidekiq.configure_server do |config|
	config.on(:startup) { Rufus::Scheduler.new }
	config.on(:shutdown) { note("rufus ended pid=#{Process.pid}") }
end
