# frozen_string_literal: true

# Push jobs with the unmodified client, Sidekiq's or Active Job's.
#
# usage: push.rb APP CLASS FIRST COUNT ARGS
#   APP    a Ruby file or a Rails app's folder, as for Sidekiq's -r
#   CLASS  of the jobs
#   FIRST  index of the first one; each job's first argument is its index
#   COUNT  how many
#   ARGS   JSON array, the other arguments

require "json"

# Keeps the arrays of arguments small, whatever the count.
SLICE = 10_000

app = File.expand_path(ARGV.fetch(0))
require File.directory?(app) ? File.join(app, "config", "environment") : app

job_class = Object.const_get(ARGV.fetch(1))
first = Integer(ARGV.fetch(2))
count = Integer(ARGV.fetch(3))
rest = JSON.parse(ARGV.fetch(4))

(first...first + count).each_slice(SLICE) do |indexes|
	if job_class.include?(Sidekiq::Job)
		jids = Sidekiq::Client.push_bulk("class" => job_class, "args" => indexes.map { |index| [index, *rest] })
		raise "pushed #{jids.compact.size} of #{indexes.size} jobs" unless jids.compact.size == indexes.size
	else
		ActiveJob.perform_all_later(indexes.map { |index| job_class.new(index, *rest) })
	end
end
