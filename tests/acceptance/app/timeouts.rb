# frozen_string_literal: true

require "sidekiq"
require_relative "../../../examples/demo/journal"

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))

# Waits.
class SleepJob
  include Sidekiq::Job

  def perform(seconds)
    JOURNAL.record(jid, self.class) { sleep(seconds) }
  end
end

# Does not let anything be raised in it.
class UnbreakableJob
  include Sidekiq::Job

  sidekiq_options gokiq_timeout: 1

  def perform
    JOURNAL.record(jid, self.class) do
      Thread.handle_interrupt(Object => :never) { nil while true }
    end
  end
end

# Goes on where it was asked to stop.
class CountingJob
  include Sidekiq::IterableJob

  def build_enumerator(cursor:)
    array_enumerator((1..40).to_a, cursor: cursor)
  end

  def each_iteration(number)
    sleep(0.1)
    File.write(File.join(ENV.fetch("TEST_JOURNAL"), "counted"), "#{number}\n", mode: "a")
  end
end
