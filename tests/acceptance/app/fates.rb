# frozen_string_literal: true

require "sidekiq"
require "active_job"
require_relative "../../../examples/demo/journal"

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))

ActiveSupport::IsolatedExecutionState.isolation_level = :fiber
ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = nil

# Ends well.
class GoodJob
  include Sidekiq::Job

  def perform(*)
    JOURNAL.record(jid, self.class) {}
  end
end

# Always raises.
class BadJob
  include Sidekiq::Job

  def perform(*)
    JOURNAL.record(jid, self.class) { raise ArgumentError, "no way" }
  end
end

# Raises the first time only.
class OnceBadJob
  include Sidekiq::Job

  def perform(*)
    JOURNAL.record(jid, self.class) { raise ArgumentError, "not yet" if JOURNAL.first?(jid) }
  end
end

# By way of ActiveJob.
class GreetJob < ActiveJob::Base
  def perform(name)
    File.write(File.join(ENV.fetch("TEST_JOURNAL"), "greeted"), "#{provider_job_id} #{name}")
  end
end
