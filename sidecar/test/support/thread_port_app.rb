# frozen_string_literal: true

# An application whose port is opened by a thread of its `startup` handler, as exporters of metrics do.

require "socket"
require_relative "plain_app"

Sidekiq.configure_server do |config|
	config.on(:startup) do
		Thread.new do
			TCPServer.new("127.0.0.1", Integer(ENV.fetch("TEST_PORT")))
			note("thread opened pid=#{Process.pid}")
		rescue Errno::EADDRINUSE => error
			note("#{error.class} pid=#{Process.pid}")
		end
	end
end
