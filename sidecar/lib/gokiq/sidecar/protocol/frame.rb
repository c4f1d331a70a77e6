# frozen_string_literal: true

require_relative "../errors"

module Gokiq
	module Sidecar
		# The outer form of the protocol: an eight byte header and a body. See `docs/protocol.md` section 2.
		module Frame
			HELLO = 1
			WELCOME = 2
			READY = 3
			BATCH = 4
			RESULTS = 5
			INTERRUPT = 6
			QUIET = 7
			DRAIN = 8
			PING = 9
			PONG = 10
			GOODBYE = 11
			ERROR = 12
			BEAT = 13
			PROMOTE = 14
			PROMOTED = 15
			FAIL = 16
			PLAIN = 17
			DONE = 18

			HEADER = "NCCn"
			HEADER_BYTES = 8

			# The largest body, in bytes.
			LIMIT_BYTES = 67_108_864

			# Types above this are optional and skipped.
			LAST_MANDATORY = 127

			# The types each side may send.
			FROM = {
				worker: [HELLO, READY, RESULTS, DRAIN, PONG, GOODBYE, ERROR, PROMOTED, DONE].freeze,
				orchestrator: [WELCOME, BATCH, INTERRUPT, QUIET, DRAIN, PING, ERROR, BEAT, PROMOTE, FAIL, PLAIN].freeze,
			}.freeze

			# Put a header before a body.
			# @parameter type [Integer] One of the constants above.
			# @parameter body [String] The encoded body.
			# @returns [String] The frame, binary.
			def self.pack(type, body = "")
				[body.bytesize, type, 0, 0].pack(HEADER) << body.b
			end

			# Cuts a stream of bytes into frames. Holds what is not complete yet.
			class Reader
				# @parameter from [Symbol] Whose frames these are, `:worker` or `:orchestrator`.
				def initialize(from:)
					@allowed = Array.new(LAST_MANDATORY + 1, false)
					FROM.fetch(from).each { |type| @allowed[type] = true }
					@known = FROM.values.flatten
					@buffer = "".b
				end

				# Take bytes, give back the frames they complete.
				# @parameter bytes [String] What was read; the reader owns it from now on.
				# @yields {|type, body| ...} Each whole frame in order, the body binary.
				# @raises [ProtocolError] If a frame is too long, unknown or not for this direction.
				def feed(bytes)
					buffer = @buffer.empty? ? bytes : @buffer << bytes
					offset = 0
					size = buffer.bytesize

					while size - offset >= HEADER_BYTES
						length, type = buffer.unpack("NC", offset: offset)
						check(type, length)
						stop = offset + HEADER_BYTES + length
						break if stop > size

						yield type, buffer.byteslice(offset + HEADER_BYTES, length) if type <= LAST_MANDATORY
						offset = stop
					end

					# A slice of the whole would be a copy as soon as the next piece of a long frame is added to it.
					@buffer = offset.zero? ? buffer : buffer.byteslice(offset, size - offset)
				end

				# @returns [Boolean] Whether the stream stands between two frames.
				def empty?
					@buffer.empty?
				end

				private

				def check(type, length)
					if length > LIMIT_BYTES
						raise ProtocolError.new(:too_long, "frame of #{length} bytes, at most #{LIMIT_BYTES} are allowed")
					end

					return if type > LAST_MANDATORY || @allowed[type]

					if @known.include?(type)
						raise ProtocolError.new(:wrong_direction, "frame type #{type} is not for this direction")
					end

					raise ProtocolError.new(:unknown_type, "unknown frame type #{type}")
				end
			end
		end
	end
end
