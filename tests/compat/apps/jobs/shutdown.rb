# frozen_string_literal: true

# Outlasts any timeout, and tells how it was made to stop.
class StubbornJob
  include Sidekiq::Job

  def perform(seconds)
    JOURNAL.record(jid, self.class) { sleep(seconds) }
  rescue Exception => error
    note("raised", jid, error.class.name)
    raise
  ensure
    note("ensured", jid)
  end
end

# Kills the process that it runs in, the first time or always.
class KillerJob
  include Sidekiq::Job

  def perform(always = false)
    JOURNAL.record(jid, self.class) { Process.kill(:KILL, Process.pid) && sleep if always || JOURNAL.first?(jid) }
  end
end

# Takes very long the first time, and no time at all later.
class SlowOnceJob
  include Sidekiq::Job

  def perform
    JOURNAL.record(jid, self.class) { sleep(600) if JOURNAL.first?(jid) }
  end
end
