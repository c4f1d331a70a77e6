# frozen_string_literal: true

require "json"
require "sidekiq"
require "sidekiq/api"
require "sentry-sidekiq"

JOURNAL = ENV.fetch("TEST_JOURNAL")
DUE = Integer(ENV.fetch("TEST_DUE"))

# Appends a line where the test reads it.
def note(kind, **what)
  File.write(File.join(JOURNAL, kind), "#{JSON.generate(what)}\n", mode: "a")
end

# What would go to Sentry.
def describe(event)
  {type: event.type, message: event.message, user: event.user, tags: event.tags, transaction: event.transaction, trace: event.contexts.dig(:trace, :trace_id),
   sidekiq: event.contexts[:sidekiq]&.dig("jid"), error: event.respond_to?(:exception) && event.exception&.values&.last&.value}
end

Sentry.init do |config|
  config.dsn = "http://key@127.0.0.1:1/1"
  config.traces_sample_rate = 1.0
  config.send_default_pii = true
  config.background_worker_threads = 0
  config.before_send = ->(event, _hint) { note("events", **describe(event)) }
  config.before_send_transaction = ->(event, _hint) { note("events", **describe(event)) }
end

Sidekiq.configure_server { |config| config.average_scheduled_poll_interval = 1 }

# Says who it is, waits, and raises. The first ones wait until due jobs have been moved meanwhile.
class ReportingJob
  include Sidekiq::Job

  sidekiq_options retry: 3

  class << self
    attr_accessor :started
  end
  self.started = 0

  def perform(number, together)
    Sentry.set_user(id: number)
    Sentry.set_tags(number: number)
    self.class.started += 1
    sleep(0.01) until self.class.started >= together && Sidekiq::Queue.new("aside").size >= DUE
    Sentry.capture_message("message #{number}")
    sleep(0.02)
    PushedJob.perform_async(number)
    raise ArgumentError, "error #{number}"
  end
end

# Says what came with it.
class PushedJob
  include Sidekiq::Job

  sidekiq_options queue: "default"

  def perform(number)
    note("pushed", number: number, user: Sentry.get_current_scope.user)
  end
end
