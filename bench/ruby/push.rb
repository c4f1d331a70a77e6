# frozen_string_literal: true

# Push jobs with the unmodified Sidekiq client.
#
# usage: push.rb CLASS FIRST COUNT ARGS
#   CLASS  of the jobs
#   FIRST  index of the first one; each job's first argument is its index
#   COUNT  how many
#   ARGS   JSON array, the other arguments

require "json"

require_relative "app"

# Keeps the arrays of arguments small, whatever the count.
SLICE = 10_000

job_class = Object.const_get(ARGV.fetch(0))
first = Integer(ARGV.fetch(1))
count = Integer(ARGV.fetch(2))
rest = JSON.parse(ARGV.fetch(3))

(first...first + count).each_slice(SLICE) do |indexes|
	jids = Sidekiq::Client.push_bulk("class" => job_class, "args" => indexes.map { |index| [index, *rest] })
	raise "pushed #{jids.compact.size} of #{indexes.size} jobs" unless jids.compact.size == indexes.size
end
