# frozen_string_literal: true

# A client of its own: enqueues one job by way of ActiveJob, prints the jid.

require_relative "fates"

puts GreetJob.perform_later("Ada").provider_job_id
