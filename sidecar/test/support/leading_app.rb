# frozen_string_literal: true

# An application with handlers that one worker alone may run, and others.

require "socket"
require_relative "plain_app"

# The shape of the rufus-scheduler gem.
module Rufus
	# Ticks, once it is there.
	class Scheduler
		def initialize
			note("rufus started pid=#{Process.pid}")
		end
	end
end

require_relative "gems/lib/sidekiq-scheduler"
require_relative "gems/lib/sidekiq_alive"
require_relative "leading_initializer"

Sidekiq.configure_server do |config|
	config.on(:startup) { note("own started pid=#{Process.pid}") }
	config.on(:shutdown) { note("own ended pid=#{Process.pid}") }

	# A port, at once.
	config.on(:startup) do
		TCPServer.new("127.0.0.1", Integer(ENV.fetch("TEST_PORT")))
		note("port opened pid=#{Process.pid}")
	end

	# A socket with a name, which ends with its process.
	config.on(:startup) do
		UNIXServer.new("\0gokiq test #{ENV.fetch("TEST_PORT")}")
		note("socket opened pid=#{Process.pid}")
	end

	# One that the system chooses may be there more than once.
	config.on(:startup) do
		TCPServer.new("127.0.0.1", 0).close
		note("any port pid=#{Process.pid}")
	end

	# A port in a thread of its own, of plain sockets.
	config.on(:startup) do
		Thread.new do
			Addrinfo.tcp("127.0.0.1", Integer(ENV.fetch("TEST_OTHER_PORT"))).listen
			note("thread opened pid=#{Process.pid}")
		end
	end

	# Queues of every worker.
	config.on(:startup) do
		config.capsule("late") { |capsule| capsule.queues = %w[late] }
	end
end

# Whose main thread is it, and does it lead after a garbage collection?
class GarbageJob
	include Sidekiq::Job

	def perform(text)
		3.times { GC.start }
		note("#{text} thread=#{Thread.current.name}")
	end
end
