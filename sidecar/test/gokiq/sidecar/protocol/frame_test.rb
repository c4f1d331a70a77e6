# frozen_string_literal: true

require "json"
require "minitest/autorun"

require "gokiq/sidecar/protocol/body"
require "gokiq/sidecar/protocol/frame"
require "gokiq/sidecar/protocol/outbox"
require "gokiq/sidecar/protocol/outcome"
require "gokiq/sidecar/sidekiq/promoter"

# The frame codec against the examples that the orchestrator is tested with too.
class FrameTest < Minitest::Test
	Frame = Gokiq::Sidecar::Frame
	Body = Gokiq::Sidecar::Body
	Outbox = Gokiq::Sidecar::Outbox
	Outcome = Gokiq::Sidecar::Outcome
	Push = Gokiq::Sidecar::Promoter::Push

	VECTORS = JSON.parse(File.read(File.expand_path("../../../../../tests/vectors/frames.json", __dir__)))

	# What the orchestrator would have raised, for Outcome.
	module Raised
		# @returns [Exception | Nil] With this class name and message.
		def self.error(name, message)
			return if name.empty? && message.empty?

			Class.new(StandardError) { define_singleton_method(:name) { name } }.new(message)
		end
	end

	VECTORS.each do |vector|
		# A worker never reads the bodies of workers.
		next if vector["error"] == "bad_body" && vector["direction"] == "R>P"

		define_method(:"test_reading_#{vector["name"]}") do
			case vector["error"]
			when nil then assert_reads(vector)
			when "incomplete" then assert_incomplete(vector)
			else assert_equal vector["error"], assert_raises(Gokiq::Sidecar::ProtocolError) { read(vector) }.code.to_s
			end
		end

		if vector["decoded"] && vector["direction"] == "R>P" && !vector["name"].match?(/ignored/)
			define_method(:"test_writing_#{vector["name"]}") do
				assert_equal vector["hex"], Frame.pack(Frame.const_get(vector["type"]), encode(vector)).unpack1("H*")
			end
		end
	end

	def test_a_long_frame_in_many_pieces_takes_time_in_proportion_to_its_length
		took = [1, 8].map do |mib|
			frame = Frame.pack(Frame::BATCH, "x" * (mib << 20))
			reader = Frame::Reader.new(from: :orchestrator)
			pieces = (0...frame.bytesize).step(16_384).map { |at| frame.byteslice(at, 16_384) }
			found = []
			began = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
			pieces.each { |piece| reader.feed(piece) { |_, body| found << body.bytesize } }
			assert_equal [mib << 20], found
			Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - began
		end

		# In proportion to the square it would be 64.
		assert_operator took.last, :<, 30 * took.first + 0.2
	end

	def test_bytes_come_one_by_one
		good = VECTORS.select { |vector| (vector["decoded"] || vector["skipped"]) && vector["direction"] == "P>R" }
		stream = good.map { |vector| bytes(vector) }.join
		whole = feed(reader(good[0]), [stream])

		assert_equal good.count { |vector| vector["decoded"] }, whole.size
		assert_equal whole, feed(reader(good[0]), stream.each_char.to_a)
		assert_equal whole, feed(reader(good[0]), stream.scan(/.{1,11}/mn))
	end

	def test_frames_before_a_violation_are_read
		seen = []
		stream = Frame.pack(Frame::PING, "12345678") + Frame.pack(99)

		assert_raises(Gokiq::Sidecar::ProtocolError) { Frame::Reader.new(from: :orchestrator).feed(stream) { |type, _| seen << type } }
		assert_equal [Frame::PING], seen
	end

	def test_types_are_told_apart
		types = Frame::FROM.values.flatten.uniq

		assert_equal (1..types.size).to_a, types.sort
		assert_equal 67_108_864, Frame::LIMIT_BYTES
	end

	private

	def bytes(vector)
		[vector["hex"]].pack("H*")
	end

	def reader(vector)
		Frame::Reader.new(from: vector["direction"] == "R>P" ? :worker : :orchestrator)
	end

	def feed(reader, parts)
		frames = []
		parts.each { |part| reader.feed(part.dup) { |type, body| frames << [type, body] } }
		frames
	end

	def read(vector)
		feed(reader(vector), [bytes(vector)]).map { |type, body| [type, vector["direction"] == "P>R" ? decode(type, body) : body] }
	end

	def assert_reads(vector)
		frames = read(vector)
		return assert_empty(frames) if vector["skipped"]

		assert_equal 1, frames.size
		type, decoded = frames[0]
		assert_equal Frame.const_get(vector["type"]), type
		assert_equal vector["decoded"], decoded if vector["direction"] == "P>R"
	end

	def assert_incomplete(vector)
		reader = reader(vector)

		assert_empty feed(reader, [bytes(vector)])
		assert_equal vector["hex"].empty?, reader.empty?
	end

	# As the session reads each type.
	def decode(type, body)
		case type
		when Frame::WELCOME, Frame::ERROR then {"json" => Body.object("x", body)}
		when Frame::BATCH
			jobs = []
			Body.each_job(body) { |number, route, flags, payload| jobs << {"number" => number, "route" => route, "flags" => flags, "payload_hex" => payload.unpack1("H*")} }
			{"jobs" => jobs}
		when Frame::PLAIN
			jobs = []
			Body.each_plain(body.dup) { |job, route| jobs << [job, route] }
			{"jobs" => jobs.map { |job, route| {"number" => job.number, "route" => route, "class" => job.name, "jid" => job.jid, "args" => job.args, "payload_hex" => job.payload.unpack1("H*")} }}
		when Frame::INTERRUPT
			entries = []
			Body.each_interrupt(body) { |number, hard| entries << {"number" => number, "mode" => hard ? 1 : 0} }
			{"entries" => entries}
		when Frame::QUIET then Body.empty("QUIET", body) || {}
		when Frame::BEAT then Body.empty("BEAT", body) || {}
		when Frame::DRAIN then {"grace_s" => Body.grace_s(body)}
		when Frame::PROMOTE
			token, members = Body.members(body)
			{"token" => token, "members_hex" => members.map { |member| member.unpack1("H*") }}
		when Frame::FAIL
			number, route, kind, message, payload = Body.failure(body)
			{"number" => number, "route" => route, "kind" => kind, "message" => message, "payload_hex" => payload.unpack1("H*")}
		when Frame::PING then {"token" => Body.token(body).unpack1("Q>")}
		end
	end

	# As a worker writes each type.
	def encode(vector)
		decoded = vector["decoded"]

		case vector["type"]
		when "HELLO", "ERROR" then JSON.generate(decoded["json"])
		when "READY" then [decoded["credit"]].pack("N")
		when "DONE" then decoded["outcomes"].flat_map { |one| one.values_at("number", "elapsed_us") }.pack(Outbox::DONE_ENTRY * decoded["outcomes"].size)
		when "PONG" then [decoded["token"]].pack("Q>")
		when "PROMOTED" then Body.promoted(decoded["token"], decoded["pushes"].map { |push| Push.new(*push.values_at("kind", "score", "queue"), [push["text_hex"]].pack("H*")) })
		when "RESULTS" then decoded["outcomes"].map { |outcome| entry(outcome) }.join
		else ""
		end
	end

	def entry(outcome)
		number, status, counts, elapsed, score, payload, name, message = outcome.values_at("number", "status", "counts", "elapsed_us", "score", "payload_hex", "error_class", "error_message")
		return Outcome.plain(number, status, counts, elapsed) if score.zero? && payload.empty? && name.empty? && message.empty?

		Outcome.detailed(number, status, counts, elapsed, score, [payload].pack("H*"), Raised.error(name, message))
	end
end
