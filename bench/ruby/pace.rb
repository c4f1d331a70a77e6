# frozen_string_literal: true

# Push jobs one by one at a steady rate, each noting in a slot when it was about to be pushed.
#
# usage: pace.rb COUNT PER_S

require_relative "app"

count = Integer(ARGV.fetch(0))
per_s = Float(ARGV.fetch(1))

pushed = Bench::Slots.new(ENV.fetch("BENCH_PUSHED"))
# Connects, and loads what a first push loads:
Sidekiq.redis { |connection| connection.call("PING") }
began = Process.clock_gettime(Process::CLOCK_MONOTONIC)

count.times do |index|
	wait = began + index / per_s - Process.clock_gettime(Process::CLOCK_MONOTONIC)
	sleep(wait) if wait.positive?
	pushed.done(index)
	NoopJob.perform_async(index)
end
