# frozen_string_literal: true

# Push jobs with the unmodified Sidekiq client and print the CPU time that this process took for it, in seconds.
#
# usage: push_cost.rb COUNT SIZE
#   COUNT  jobs to push
#   SIZE   jobs in one call of push_bulk; 1 for perform_async

require_relative "growth"

count, size = ARGV.map { |argument| Integer(argument) }
one = ["x"]

push = if size == 1
	-> { NoopJob.perform_async(*one) }
else
	slice = [one] * size
	-> { Sidekiq::Client.push_bulk("class" => NoopJob, "args" => slice) }
end

# Connects, and fills caches.
push.call
began = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
(count / size).times { push.call }
puts Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - began
