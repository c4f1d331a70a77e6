# frozen_string_literal: true

# Counts from the cursor to a number, with a pause for each, and notes all that happens to it.
class CountJob
  include Sidekiq::IterableJob

  def build_enumerator(count, _pause, cursor:)
    array_enumerator((0...count).to_a, cursor: cursor)
  end

  def on_start
    note("start", jid)
  end

  def on_resume
    note("resume", jid)
  end

  def on_cancel
    note("cancel", jid)
  end

  def on_stop
    note("stop", jid)
  end

  def on_complete
    note("complete", jid)
  end

  def each_iteration(number, _count, pause)
    note("each", jid, number)
    sleep(pause)
  end
end

# Fails at one number, the first time.
class StumbleJob
  include Sidekiq::IterableJob

  def build_enumerator(count, _at, cursor:)
    array_enumerator((0...count).to_a, cursor: cursor)
  end

  def each_iteration(number, _count, at)
    note("each", jid, number)
    raise ArgumentError, "stumbled" if number == at && JOURNAL.first?(jid)
  end
end
