# frozen_string_literal: true

# What the worker's codec makes of a stream. A request on stdin is hex: the stream. The answer is one line of JSON: the
# type and the hex of the body of each frame, then how many bytes wait, or null where the stream breaks the protocol. The
# bodies of BATCH, PLAIN, INTERRUPT and PROMOTE are read too, and may raise nothing but ProtocolError.

require "json"

require_relative "../../sidecar/lib/gokiq/sidecar/protocol/body"
require_relative "../../sidecar/lib/gokiq/sidecar/protocol/frame"

include Gokiq::Sidecar

def read_body(type, body)
	case type
	when Frame::BATCH then Body.each_job(body) { |number, _, _, payload| number && payload }
	when Frame::PLAIN then Body.each_plain(body) { |job, route| route && job.payload && job.args }
	when Frame::INTERRUPT then Body.each_interrupt(body) { |number, hard| number && hard }
	when Frame::PROMOTE then Body.members(body)
	when Frame::DRAIN then Body.grace_s(body)
	when Frame::WELCOME, Frame::ERROR then Body.object("it", body)
	end
rescue ProtocolError
	nil
end

$stdout.sync = true
$stdin.each_line(chomp: true) do |line|
	reader = Frame::Reader.new(from: :orchestrator)
	stream = [line].pack("H*")
	frames = []
	waiting = stream.bytesize

	begin
		reader.feed(stream) do |type, body|
			frames << [type, body.unpack1("H*")]
			read_body(type, body)
		end
		waiting = reader.empty? ? 0 : 1
	rescue ProtocolError
		waiting = nil
	end
	puts JSON.generate([waiting ? frames : [], waiting])
end
