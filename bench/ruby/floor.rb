# frozen_string_literal: true

# What the smallest parts of a no-op job cost this Ruby, so that one can tell what is left to win.
#
#	$GOKIQ_RUBY bench/ruby/floor.rb
#
# Prints microseconds of CPU for each, best of five rounds, without the loop around it.

require "json"

# As much of a job as Sidekiq asks for.
class FloorJob
	attr_accessor :jid, :_context

	# Does nothing.
	def perform(*)
	end
end

ROUNDS = 5
TIMES = 100_000

# @returns [Float] Microseconds of CPU a time.
def cost_of
	Array.new(ROUNDS) do
		began = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
		count = 0

		while count < TIMES
			yield
			count += 1
		end

		(Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - began) * 1_000_000 / TIMES
	end.min
end

PAYLOAD = JSON.generate(
	retry: true, queue: "default", class: "FloorJob", args: [5],
	jid: "b4a577edbccf1d805744efa9", created_at: 1_700_000_000_000, enqueued_at: 1_700_000_000_001
)
ROW = "Q>nCCNNNNN"
ROWS = [1, 0, 8, 24, PAYLOAD.bytesize, 40, 60, 50, 3].pack(ROW) * 100
ENDS = [1, 5] * 100
FRAME = PAYLOAD * 10
HELD = {}

PARTS = {
	"all that a job needs: parse, look up, make, perform" => lambda do
		job = JSON.parse(PAYLOAD)
		instance = Object.const_get(job["class"]).new
		instance.jid = job["jid"]
		instance.perform(*job["args"])
	end,
	"parse the payload" => -> { JSON.parse(PAYLOAD) },
	"parse [5] alone" => -> { JSON.parse("[5]") },
	"a class by its name" => -> { Object.const_get("FloorJob") },
	"an instance with jid and context" => -> { (job = FloorJob.new).jid = job._context = nil },
	"cut a jid out of a frame" => -> { FRAME.byteslice(300, 24) },
	"a number into a hash and out" => -> { HELD[1] = 2 and HELD.delete(1) },
	"Sidekiq's context of a job" => -> { Thread.current[:sidekiq_context] = {jid: "a", class: "b"} },
	"read the clock" => -> { Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond) },
	"a call with a block" => -> { [].each {} },
	"a lock" => -> { LOCK.synchronize {} },
	"a row of PLAIN, of 100" => [100, -> { ROWS.unpack(ROW * 100) }],
	"an end of DONE, of 100" => [100, -> { ENDS.pack("Q>N" * 100) }],
}.freeze
LOCK = Mutex.new

Process.warmup
empty = cost_of { nil.to_a }
puts "ruby #{RUBY_VERSION}, json #{JSON::VERSION}, µs of CPU"
PARTS.each do |name, (times, part)|
	times, part = 1, times unless part
	puts format("%6.2f  %s", (cost_of(&part) - empty).clamp(0.0..) / times, name)
end
