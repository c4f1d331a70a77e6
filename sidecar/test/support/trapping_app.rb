# frozen_string_literal: true

# An application that has trapped signals before Sidekiq does, and has opened a port.

require "socket"
require_relative "plain_app"

%i[TERM TSTP TTIN].each { |name| trap(name) { |number| note("trapped #{name} #{number} pid=#{Process.pid}") } }
OPEN = TCPServer.new("127.0.0.1", 0)

trap(:INT) { raise "not mine" }
