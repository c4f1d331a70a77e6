# frozen_string_literal: true

require "json"

require_relative "frame"
require_relative "../sidekiq/job"

module Gokiq
	module Sidecar
		# The bodies of the frames that a worker reads, and the small ones that it writes.
		module Body
			JOB_HEADER = "Q>nnN"
			JOB_HEADER_BYTES = 16

			INTERRUPT_ENTRY = "Q>C"
			INTERRUPT_BYTES = 9

			# @raises [ProtocolError] Always, naming the frame.
			def self.refuse(name, problem)
				raise ProtocolError.new(:bad_body, "#{name}: #{problem}")
			end

			# Read a JSON object.
			# @parameter name [String] The frame, for the error text.
			# @parameter body [String] UTF-8 bytes.
			# @returns [Hash]
			def self.object(name, body)
				text = body.dup.force_encoding(Encoding::UTF_8)
				refuse(name, "not UTF-8") unless text.valid_encoding?
				value = JSON.parse(text)
				refuse(name, "not a JSON object") unless value.is_a?(Hash)
				value
			rescue JSON::ParserError
				refuse(name, "not JSON")
			end

			# Walk over the jobs of a BATCH.
			# @yields {|number, route, flags, payload| ...} The payload is UTF-8 labelled, byte for byte as sent.
			def self.each_job(body)
				offset = 0
				size = body.bytesize

				while offset < size
					refuse("BATCH", "entry header is cut") if size - offset < JOB_HEADER_BYTES
					number, route, flags, length = body.unpack(JOB_HEADER, offset: offset)
					offset += JOB_HEADER_BYTES
					refuse("BATCH", "payload goes over the end") if length > size - offset
					yield number, route, flags, body.byteslice(offset, length).force_encoding(Encoding::UTF_8)
					offset += length
				end
			end

			PLAIN_ROW = "Q>nCCNNNNN"
			PLAIN_ROW_BYTES = 32
			PLAIN_ROW_FIELDS = 9

			# Walk over the jobs of a PLAIN.
			# @parameter body [String] It becomes UTF-8 labelled; its jobs keep it.
			# @yields {|job, route| ...} A {PlainJob} that has no route yet, and the index of its route.
			def self.each_plain(body)
				count = body.unpack1("N") || refuse("PLAIN", "count is cut")
				at = 4 + count * PLAIN_ROW_BYTES
				refuse("PLAIN", "rows are cut") if at > body.bytesize
				fields = body.unpack(PLAIN_ROW * count, offset: 4)
				body.force_encoding(Encoding::UTF_8)
				index = place = 0
				last = fields.size
				arguments = Arguments.new

				while index < last
					size = fields[index + 4]
					refuse("PLAIN", "payload goes over the end") if at + size > body.bytesize
					name = body.byteslice(at + fields[index + 5], fields[index + 2])
					jid = body.byteslice(at + fields[index + 6], fields[index + 3])
					refuse("PLAIN", "a name goes over the end") unless name && jid
					arguments << (body.byteslice(at + fields[index + 7], fields[index + 8]) || refuse("PLAIN", "arguments go over the end"))
					yield PlainJob.new(fields[index], name, jid, body, at, size, arguments, place), fields[index + 1]
					place += 1
					at += size
					index += PLAIN_ROW_FIELDS
				end

				refuse("PLAIN", "bytes are left") unless at == body.bytesize
			end

			# Read a PROMOTE.
			# @returns [Array(Integer, Array(String))] The token, and the members, UTF-8 labelled, byte for byte as sent.
			def self.members(body)
				refuse("PROMOTE", "token is cut") if body.bytesize < 4
				members = []
				offset = 4
				size = body.bytesize

				while offset < size
					refuse("PROMOTE", "length is cut") if size - offset < 4
					length = body.unpack1("N", offset: offset)
					offset += 4
					refuse("PROMOTE", "member goes over the end") if length > size - offset
					members << body.byteslice(offset, length).force_encoding(Encoding::UTF_8)
					offset += length
				end

				[body.unpack1("N"), members]
			end

			# Write a PROMOTED.
			# @parameter pushes [Array(Promoter::Push)] In the order of the members.
			# @returns [String]
			def self.promoted(token, pushes)
				pushes.inject([token].pack("N")) do |body, push|
					queue = push.queue.b
					text = push.text.b
					body << [push.kind, push.score, queue.bytesize].pack("CGn") << queue << [text.bytesize].pack("N") << text
				end
			end

			FAIL_HEADER = "Q>nCCN"
			FAIL_HEADER_BYTES = 16

			# Read a FAIL.
			# @returns [Array] Number, route, kind, message, payload; the texts are UTF-8 labelled.
			def self.failure(body)
				refuse("FAIL", "header is cut") if body.bytesize < FAIL_HEADER_BYTES
				number, route, kind, _reserved, size = body.unpack(FAIL_HEADER)
				refuse("FAIL", "message goes over the end") if size > body.bytesize - FAIL_HEADER_BYTES
				refuse("FAIL", "unknown kind #{kind}") if kind > 1
				message = body.byteslice(FAIL_HEADER_BYTES, size).force_encoding(Encoding::UTF_8).scrub
				payload = body.byteslice(FAIL_HEADER_BYTES + size..).force_encoding(Encoding::UTF_8)
				[number, route, kind, message, payload]
			end

			# Walk over the entries of an INTERRUPT.
			# @yields {|number, hard| ...} The claim's number, and whether `Sidekiq::Shutdown` is to be raised.
			def self.each_interrupt(body)
				refuse("INTERRUPT", "entry is cut") unless (body.bytesize % INTERRUPT_BYTES).zero?

				(0...body.bytesize).step(INTERRUPT_BYTES) do |offset|
					number, mode = body.unpack(INTERRUPT_ENTRY, offset: offset)
					refuse("INTERRUPT", "unknown mode #{mode}") if mode > 1
					yield number, mode == 1
				end
			end

			# Read the grace of a DRAIN that the orchestrator sent.
			# @returns [Float] Seconds.
			def self.grace_s(body)
				refuse("DRAIN", "8 bytes expected") unless body.bytesize == 8
				grace = body.unpack1("G")
				refuse("DRAIN", "not a time") unless grace >= 0.0
				grace
			end

			# Check a PING, whose body goes back unread.
			# @returns [String] The token.
			def self.token(body)
				refuse("PING", "8 bytes expected") unless body.bytesize == 8
				body
			end

			# Check the body of a frame that has none.
			def self.empty(name, body)
				refuse(name, "no body expected") unless body.empty?
			end
		end
	end
end
