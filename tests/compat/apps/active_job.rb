# frozen_string_literal: true

# app.rb, with a job of ActiveJob.

require_relative "app"
require "active_job"

ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = nil

# Says which job it was for Sidekiq.
class GreetingJob < ActiveJob::Base
  def perform(name)
    note("greeted", name, provider_job_id)
  end
end
