# frozen_string_literal: true

# CPU time that one worker spends on a no-op job, frames included: feeds jobs through a socket pair to a real session and
# workload, in the process of the measurement, and reads the outcomes back.
#
#	$GOKIQ_RUBY -I sidecar/lib bench/sidecar_null.rb [JOBS] [SLOTS] [ROUNDS]
#
# Prints microseconds a job, best and all rounds. The orchestrator's side is a forked process, so its CPU is not counted.

require "sidekiq/cli"
require "logger"
require "async"
require "gokiq/sidecar/app/application"
require "gokiq/sidecar/protocol/session"
require "gokiq/sidecar/worker/state"
require "gokiq/sidecar/lanes/workload"

# What the jobs are made of.
class NullJob
	include Sidekiq::Job

	def perform(*)
	end
end

# As much of a worker as a session asks for.
Host = Struct.new(:workload, :slots, :session) do
	# @returns [Hash]
	def hello
		{protocol: [1]}
	end

	# @returns [Sidekiq::Capsule]
	def capsule(name)
		Sidekiq.default_configuration.capsules[name]
	end

	# @returns [Boolean]
	def leaving?
		false
	end

	# Outcomes go to this session.
	def greeted(session, *)
		workload.outbox = session.outbox
	end
end

JOBS = Integer(ARGV[0] || 50_000)
SLOTS = Integer(ARGV[1] || 100)
ROUNDS = Integer(ARGV[2] || 5)

# @returns [String] A frame.
def frame(type, body)
	[body.bytesize, type, 0, 0].pack("NCCn") << body
end

# @returns [Array(String, Integer)] One frame's body and type.
def read_frame(socket)
	length, type = socket.read(8).unpack("NC")
	[length.zero? ? "" : socket.read(length), type]
end

# The orchestrator's end: keeps as many jobs out as there are slots, exits 1 if any outcome is not OK.
def orchestrate(socket)
	payload = JSON.generate("retry" => true, "queue" => "default", "class" => "NullJob", "args" => JSON.parse(ENV["ARGS"] || "[]"),
		"jid" => "b4a577edbccf1d805744efa9", "created_at" => 1_700_000_000_000, "enqueued_at" => 1_700_000_000_001)
	at = ->(text) { payload.index(text) }
	spans = [at.("NullJob"), at.("b4a577"), at.('"args":') + 7, at.(',"jid"') - at.('"args":') - 7]
	row = ->(number) { [number, 0, 7, 24, payload.bytesize, *spans].pack("Q>nCCN5") }
	read_frame(socket)
	socket.write(frame(2, JSON.generate(protocol: 1, routes: [{capsule: "default", queue: "default"}])))
	read_frame(socket)
	sent = finished = 0

	while finished < JOBS
		count = [SLOTS - (sent - finished), JOBS - sent].min
		socket.write(frame(17, [count].pack("N") << Array.new(count) { |index| row.call(sent + index) }.join << payload * count)) if count.positive?
		sent += count
		body, type = read_frame(socket)
		raise "frame #{type}" unless type == 18

		finished += body.bytesize / 12
	end

	socket.close
	exit!(0)
rescue StandardError => error
	warn error.full_message
	exit!(1)
end

# @returns [Float] Microseconds of this process's CPU a job.
def round
	ours, theirs = UNIXSocket.pair
	child = fork do
		ours.close
		orchestrate(theirs)
	end
	theirs.close
	GC.start
	began = nil

	Sync do
		plan = Gokiq::Sidecar::Plan.new(lane: LANE, slots: SLOTS, threads: 5)
		host = Host.new(Gokiq::Sidecar::Workload.new(plan, Gokiq::Sidecar::State.new), SLOTS)
		host.workload.start
		began = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
		Gokiq::Sidecar::Session.new(ours, host).run
	end

	spent = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - began
	_, status = Process.wait2(child)
	raise "the orchestrator's side failed" unless status.success?

	spent * 1_000_000 / JOBS
end

LANE = (ENV["GOKIQ_LANE"] || "fiber").to_sym
Sidekiq.default_configuration.default_capsule
Sidekiq.default_configuration.logger.level = Logger.const_get(ENV["LOG_LEVEL"] || "WARN")
Sidekiq.default_configuration.logger.reopen(File::NULL) if Sidekiq.default_configuration.logger.info?
Process.warmup
rounds = Array.new(ROUNDS) { round.round(2) }
puts "ruby #{RUBY_VERSION}, sidekiq #{Sidekiq::VERSION}, lane #{LANE}, #{JOBS} jobs, #{SLOTS} slots: best #{rounds.min} µs a job (#{rounds.join(", ")})"
