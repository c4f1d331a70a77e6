# frozen_string_literal: true

require "json"

# The protocol as the orchestrator speaks it, written from docs/protocol.md and not from the code under test.
module Wire
	TYPES = {
		HELLO: 1, WELCOME: 2, READY: 3, BATCH: 4, RESULTS: 5, INTERRUPT: 6, QUIET: 7, DRAIN: 8, PING: 9, PONG: 10, GOODBYE: 11, ERROR: 12, BEAT: 13, PROMOTE: 14, PROMOTED: 15, FAIL: 16, PLAIN: 17, DONE: 18,
	}.freeze

	NAMES = TYPES.invert.freeze

	STATUSES = %i[ok retry dead discarded skipped shutdown refused internal].freeze

	# An entry of RESULTS.
	Result = Struct.new(:number, :status, :counts, :elapsed_us, :score, :payload, :error_class, :error_message, keyword_init: true) do
		# @returns [Hash] The job as it is to be stored.
		def job
			JSON.parse(payload)
		end
	end

	# @returns [String] A frame.
	def self.frame(name, body = "")
		[body.bytesize, TYPES.fetch(name), 0, 0].pack("NCCn") + body.b
	end

	# @parameter jobs [Hash(Integer, String)] Payloads by number.
	# @returns [String] The body of BATCH.
	def self.batch(jobs, route: 0)
		jobs.map { |number, payload| [number, route, 0, payload.bytesize].pack("Q>nnN") + payload.b }.join
	end

	# @returns [Array(Result)] What a body of DONE holds.
	def self.done(body)
		body.unpack("Q>N" * (body.bytesize / 12)).each_slice(2).map do |number, elapsed|
			Result.new(number: number, status: :ok, counts: 1, elapsed_us: elapsed, **texts(""))
		end
	end

	# @parameter jobs [Hash(Integer, String)] Payloads by number, compact JSON.
	# @returns [String] The body of PLAIN.
	# @parameter args [String | Nil] The arguments of each, where they are not JSON.
	def self.plain(jobs, route: 0, args: nil)
		rows = jobs.map do |number, payload|
			fields = JSON.parse(args ? payload.sub(args, "[]") : payload)
			text = args || JSON.generate(fields["args"])
			at = ->(key) { payload.byteindex("\"#{key}\":") + key.size + 3 }
			[number, route, fields["class"].bytesize, fields["jid"].bytesize, payload.bytesize, at.("class") + 1, at.("jid") + 1, at.("args"), text.bytesize].pack("Q>nCCN5")
		end

		[jobs.size].pack("N") + rows.join + jobs.values.map(&:b).join
	end

	# @returns [Array(Result)] What a body of RESULTS holds.
	def self.results(body)
		results = []
		rest = body.b

		until rest.empty?
			number, status, counts, _, size, elapsed = rest.unpack("Q>CCnNQ>")
			detail = rest.byteslice(24, size)
			rest = rest.byteslice(24 + size..)
			results << Result.new(number: number, status: STATUSES.fetch(status), counts: counts, elapsed_us: elapsed, **texts(detail))
		end

		results
	end

	def self.texts(detail)
		return {score: 0.0, payload: "", error_class: "", error_message: ""} if detail.empty?

		score, size = detail.unpack("GN")
		payload = detail.byteslice(12, size)
		rest = detail.byteslice(12 + size..)
		name = rest.byteslice(2, rest.unpack1("n"))
		rest = rest.byteslice(2 + name.bytesize..)
		message = rest.byteslice(2, rest.unpack1("n"))
		raise "bytes left in a detail" unless rest.bytesize == 2 + message.bytesize

		{score: score, payload: payload.force_encoding("UTF-8"), error_class: name.force_encoding("UTF-8"), error_message: message.force_encoding("UTF-8")}
	end
	private_class_method :texts
end
