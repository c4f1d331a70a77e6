# frozen_string_literal: true

require "sidekiq"
require_relative "../../../examples/demo/journal"

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))

# Sleeps, and bears witness.
class SleepJob
  include Sidekiq::Job

  def perform(seconds)
    JOURNAL.record(jid, self.class) { sleep(seconds) }
  end
end

# Tells when it was cut short.
class LongJob
  include Sidekiq::Job

  def perform(seconds)
    JOURNAL.record(jid, self.class) { sleep(seconds) }
  rescue Sidekiq::Shutdown
    File.write(File.join(ENV.fetch("TEST_JOURNAL"), "shutdown"), jid)
    raise
  end
end

# Never ends well.
class FailingJob
  include Sidekiq::Job

  def perform
    raise ArgumentError, "no way"
  end
end

# Kills its worker, after a while.
class PoisonJob
  include Sidekiq::Job

  def perform(seconds, signal)
    JOURNAL.record(jid, self.class) do
      sleep(seconds)
      Process.kill(signal, Process.pid)
      sleep
    end
  end
end

# Keeps what it was given.
class LeakJob
  include Sidekiq::Job

  KEPT = []

  def perform(megabytes)
    JOURNAL.record(jid, self.class) { megabytes.times { KEPT << Random.bytes(1_048_576) } }
  end
end

# Has a child that outlives its worker.
class ForkJob
  include Sidekiq::Job

  def perform(seconds)
    JOURNAL.record(jid, self.class) do
      pid = fork { sleep(seconds) }
      File.write(File.join(ENV.fetch("TEST_JOURNAL"), "child"), pid.to_s)
      Process.wait(pid)
    end
  end
end

# Leaves a process behind whose parent has ended.
class OrphanJob
  include Sidekiq::Job

  def perform
    JOURNAL.record(jid, self.class) { system("sleep 0.2 &") }
  end
end
