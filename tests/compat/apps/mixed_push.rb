# frozen_string_literal: true

# Pushes a random stream of jobs, the same for the same seed, and tells in the file `pushed` what it has pushed.
#
# ARGV: seconds, seed.

require_relative "mixed"

seconds, seed = ARGV
chance = Random.new(Integer(seed))
pushed = File.open(File.join(ENV.fetch("TEST_JOURNAL"), "pushed"), "a")

# How often each kind comes, of the sum.
KINDS = {
	plain: 40, flaky: 14, hopeless: 4, discarded: 3, once: 3, later: 10, later_flaky: 3, bulk: 3, active: 10, active_later: 3,
	cancelled: 4, list: 3, long: 1
}.freeze

draw = lambda do
	at = chance.rand(KINDS.values.sum)
	KINDS.find { |_kind, weight| (at -= weight).negative? }.first
end

ends = Process.clock_gettime(Process::CLOCK_MONOTONIC) + Float(seconds)

while Process.clock_gettime(Process::CLOCK_MONOTONIC) < ends
	kind = draw.call
	queue = %w[critical default default low single].sample(random: chance)
	pause = chance.rand(0.02..0.15)
	later = chance.rand(1.0..3.0)

	jids = case kind
	when :plain then PlainJob.set(queue: queue).perform_async(pause)
	when :flaky then FlakyJob.set(queue: queue).perform_async(pause)
	when :hopeless then HopelessJob.set(queue: queue).perform_async
	when :discarded then DiscardedJob.set(queue: queue).perform_async
	when :once then OnceJob.set(queue: queue).perform_async
	when :later then PlainJob.set(queue: queue).perform_in(later, pause)
	when :later_flaky then FlakyJob.set(queue: queue).perform_in(later, pause)
	when :bulk then PlainJob.set(queue: queue).perform_bulk(Array.new(chance.rand(5..25)) { [0.01] })
	when :active then ActiveGreeting.set(queue: queue).perform_later(pause).provider_job_id
	when :active_later then ActiveGreeting.set(queue: queue, wait: later).perform_later(pause).provider_job_id
	when :cancelled then PlainJob.set(queue: queue, "cancel" => true).perform_async(pause)
	when :list then ListJob.set(queue: queue).perform_async(15)
	when :long then LongJob.set(queue: "low").perform_async(3.0)
	end

	Array(jids).each { |jid| pushed.syswrite("#{jid} #{kind}\n") }
	sleep(chance.rand(0.01..0.04))
end
