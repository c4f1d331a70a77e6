# frozen_string_literal: true

require_relative "../errors"
require_relative "frame"

module Gokiq
	module Sidecar
		# What a run ended in, as an entry of RESULTS. See `docs/protocol.md` section 5.
		module Outcome
			OK = 0
			RETRY = 1
			DEAD = 2
			DISCARDED = 3
			SKIPPED = 4
			SHUTDOWN = 5
			REFUSED = 6
			INTERNAL = 7

			# Bits of `counts`.
			PROCESSED = 1
			FAILED = 2

			# number, status, counts, reserved, size of the detail, elapsed_us
			ENTRY = "Q>CCnNQ>"

			# The most bytes of an error message that travel; the retry payload carries the whole.
			MESSAGE_BYTES = 1_000

			# The largest payload that fits a frame together with everything around it.
			PAYLOAD_BYTES = Frame::LIMIT_BYTES - 4_096

			# An entry without texts.
			# @returns [String] Binary.
			def self.plain(number, status, counts, elapsed_us)
				[number, status, counts, 0, 0, elapsed_us].pack(ENTRY)
			end

			# A result that no frame can hold.
			class TooLarge < Error
			end

			# An entry with a score, a payload or an error.
			# @parameter score [Float] For the retry or dead set, seconds since the epoch.
			# @parameter payload [String] The annotated job, or empty.
			# @parameter error [Exception | Nil] What the job raised.
			# @returns [String] Binary.
			def self.detailed(number, status, counts, elapsed_us, score, payload, error)
				if payload.bytesize > PAYLOAD_BYTES
					error = TooLarge.new("the #{payload.bytesize} bytes that Sidekiq wants to store do not fit a frame")
					return detailed(number, INTERNAL, counts, elapsed_us, 0.0, "", error)
				end

				name = cut(error_name(error))
				message = cut(error_message(error))
				detail = [score, payload.bytesize].pack("GN") << payload.b
				detail << [name.bytesize].pack("n") << name << [message.bytesize].pack("n") << message
				[number, status, counts, 0, detail.bytesize, elapsed_us].pack(ENTRY) << detail
			end

			# Shorten a text to what travels, on a character boundary.
			# @returns [String] Binary bytes of valid UTF-8.
			def self.cut(text)
				text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace) unless text.encoding == Encoding::UTF_8
				text = text.scrub unless text.valid_encoding?
				text = text.byteslice(0, MESSAGE_BYTES).scrub("") if text.bytesize > MESSAGE_BYTES
				text.b
			rescue EncodingError
				text.b.force_encoding(Encoding::UTF_8).scrub.byteslice(0, MESSAGE_BYTES).scrub("").b
			end

			def self.error_name(error)
				error ? (error.class.name || "anonymous").to_s : ""
			end
			private_class_method :error_name

			# An application's own `message` may raise.
			def self.error_message(error)
				error ? error.message.to_s : ""
			rescue StandardError
				"(the error's message raised an error)"
			end
			private_class_method :error_message
		end
	end
end
