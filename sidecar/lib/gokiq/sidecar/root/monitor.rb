# frozen_string_literal: true

require "json"
require "socket"

module Gokiq
	module Sidecar
		# Sends news to the orchestrator as datagrams. Needs no gem and never raises: losing one is harmless.
		class Monitor
			# @parameter path [String | Nil] The orchestrator's datagram socket; nil to send nothing.
			def initialize(path)
				@address = path && Socket.sockaddr_un(path)
				@process = nil
			end

			# Send one datagram, without waiting.
			# @parameter event [String]
			# @parameter fields [Hash] What JSON can hold.
			# @returns [Boolean] Whether it was sent.
			def call(event, **fields)
				return false unless @address

				text = JSON.generate({event: event, pid: Process.pid, **fields})
				# Not `send`, which waits in spite of MSG_DONTWAIT.
				socket.sendmsg_nonblock(text, 0, @address, exception: false) != :wait_writable
			rescue SystemCallError, IOError, JSON::GeneratorError
				false
			end

			# @returns [Boolean] Whether somebody is meant to hear.
			def listening?
				!@address.nil?
			end

			private

			# A forked process has its own.
			def socket
				return @socket if @process == Process.pid

				@process = Process.pid
				@socket = Socket.new(:UNIX, :DGRAM)
			end
		end
	end
end
