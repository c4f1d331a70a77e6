# frozen_string_literal: true

require "socket"

require_relative "wait"
require_relative "wire"

# An orchestrator's end of one connection.
class Peer
	# The worker closed the connection.
	class Closed < StandardError
	end

	# @parameter path [String] Of the sidecar's socket.
	def initialize(path)
		@socket = UNIXSocket.new(path)
		@buffer = "".b
		@results = []
	end

	# @attribute [Hash] The body of HELLO.
	attr :hello

	# Read HELLO.
	# @returns [Hash]
	def await_hello(seconds = Wait::LIMIT_S)
		@hello = JSON.parse(expect(:HELLO, seconds))
	end

	# Go through the handshake.
	# @parameter queues [Array(String | Array)] Of the default capsule, or with the capsule's name before it.
	# @returns [Integer] The credit.
	def greet(*queues)
		queues = ["default"] if queues.empty?
		await_hello unless @hello
		send(:WELCOME, JSON.generate(protocol: 1, identity: "test:1:0", client: true, routes: queues.map { |name| Array(name).then { |*capsule, queue| {capsule: capsule.first || "default", queue: queue} } }))
		expect(:READY).unpack1("N")
	end

	# Send a frame.
	def send(name, body = "")
		write(Wire.frame(name, body))
	end

	# Send bytes.
	def write(bytes)
		@socket.write(bytes)
	end

	# Send jobs.
	# @parameter jobs [Hash(Integer, Array | String)] A class and its arguments, or bytes, by number.
	def jobs(jobs)
		jobs_by(0, jobs)
	end

	# The same by another route than the first.
	def jobs_by(route, jobs)
		send(:BATCH, Wire.batch(jobs.transform_values { |job| job.is_a?(Array) ? Peer.payload(*job) : job }, route: route))
	end

	# Send jobs as PLAIN. As {jobs}.
	def plain_jobs(jobs)
		send(:PLAIN, Wire.plain(jobs.transform_values { |job| job.is_a?(Array) ? Peer.payload(*job) : job }))
	end

	# @returns [String] A job as Sidekiq's client writes it.
	def self.payload(name, *arguments, **fields)
		fields = {retry: true, queue: "default", jid: "0123456789abcdef01234567", created_at: 1_700_000_000_000, **fields}
		JSON.generate({class: name, args: arguments, **fields})
	end

	# Read until these numbers have been reported.
	# @returns [Hash(Integer, Wire::Result)]
	def results(*numbers, seconds: Wait::LIMIT_S)
		deadline = Wait.now + seconds
		found = {}

		until (numbers - found.keys).empty?
			type, body = frame(deadline - Wait.now)
			raise "RESULTS or DONE was expected, #{type} came: #{body[0, 300].inspect}" unless %i[RESULTS DONE].include?(type)

			(type == :DONE ? Wire.done(body) : Wire.results(body)).each do |result|
				raise "#{result.number} was reported twice" if found.key?(result.number)

				found[result.number] = result
			end
		end

		found
	end

	# @returns [String] The body of the next frame, which has to be of this type.
	def expect(name, seconds = Wait::LIMIT_S)
		type, body = frame(seconds)
		raise "#{name} was expected, #{type} came: #{body[0, 300].inspect}" unless type == name

		body
	end

	# @returns [Array(Symbol, String)] The next frame.
	def frame(seconds = Wait::LIMIT_S)
		deadline = Wait.now + seconds

		while true
			length, type = @buffer.unpack("NC") if @buffer.bytesize >= 8

			if length && @buffer.bytesize >= 8 + length
				body = @buffer.byteslice(8, length)
				@buffer = @buffer.byteslice(8 + length..)
				return [Wire::NAMES.fetch(type), body]
			end

			fill(deadline - Wait.now)
		end
	end

	# Wait until the worker has closed; frames that come before are thrown away.
	def await_close(seconds = Wait::LIMIT_S)
		deadline = Wait.now + seconds
		frame(deadline - Wait.now) while true
	rescue Closed
		nil
	end

	# @returns [Boolean] Whether nothing has come so far.
	def silent?
		@buffer.empty? && !@socket.wait_readable(0)
	end

	# Hang up.
	def close
		@socket.close
	end

	private

	def fill(seconds)
		raise "no frame came in time" unless seconds.positive? && @socket.wait_readable(seconds)

		@buffer << @socket.readpartial(65_536)
	rescue EOFError, Errno::ECONNRESET
		raise Closed, "the worker has closed"
	end
end
