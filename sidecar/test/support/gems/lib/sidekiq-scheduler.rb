# frozen_string_literal: true

# The shape of a gem that starts a scheduler on `startup` and ends it on `quiet`: known by the name of this file.
Sidekiq.configure_server do |config|
	config.on(:startup) { note("scheduler started pid=#{Process.pid}") }
	config.on(:quiet) { note("scheduler ended pid=#{Process.pid}") }
	config.on(:shutdown) { note("scheduler gone pid=#{Process.pid}") }
end
