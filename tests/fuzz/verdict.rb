# frozen_string_literal: true

# What the app's own JSON says of what gokiq has read. A request on stdin is a line of hex fields: the payload, the
# payload with `jid` set to "new", then for each of NAMES the JSON that gokiq found (- for none). The answer is one line.

require "sidekiq"

NAMES = ARGV.freeze

def utf8(hex)
	[hex].pack("H*").force_encoding(Encoding::UTF_8)
end

def load_json(text)
	Sidekiq.load_json(text)
rescue JSON::ParserError
	:refused
end

def same?(one, other)
	one == other || one.inspect == other.inspect
end

def judge(payload, spliced, raws)
	value = load_json(payload)
	return "refused" if value == :refused
	return "other" unless value.is_a?(Hash)
	return "object" if spliced.nil?

	NAMES.zip(raws) do |name, raw|
		return "wrong #{name}" unless value.key?(name) == !raw.nil?
		return "wrong value of #{name}" unless raw.nil? || same?(load_json("[#{raw}]"), [value[name]])
	end
	same?(load_json(spliced), value.merge("jid" => "new")) ? "object" : "wrong after the change"
end

$stdout.sync = true
$stdin.each_line(chomp: true) do |line|
	payload, spliced, *raws = line.split(",").map { |field| utf8(field) unless field == "-" }
	puts judge(payload.to_s, spliced, raws)
end
