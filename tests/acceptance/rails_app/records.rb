# frozen_string_literal: true

# Jobs with a database. They note what they saw; the tests judge.

# A wait for the write lock sleeps in Ruby, as in Rails 8: the fiber that has it can go on.
module PatientSQLite
  private

  def configure_connection
    super
    @raw_connection.busy_handler_timeout = 60_000
  end
end

ActiveSupport.on_load(:active_record_sqlite3adapter) { prepend PatientSQLite }

class Entry < ActiveRecord::Base
end

# All fibers are in a transaction at once, each with a table that only its connection has.
class MarkJob
  include Sidekiq::Job

  INSIDE = []

  def perform(number, count)
    Entry.with_connection do |connection|
      connection.execute("CREATE TEMP TABLE IF NOT EXISTS marks (number INTEGER)")

      Entry.transaction do
        connection.execute("INSERT INTO marks VALUES (#{number})")
        INSIDE << number
        deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 30
        sleep(0.02) until INSIDE.size == count || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
        marks = connection.select_values("SELECT number FROM marks")
        Seen.note("mark #{number} #{INSIDE.size} #{connection.object_id} #{marks.join(",")}")
        raise ActiveRecord::Rollback if number.odd?
      end

      Seen.note("left #{number} #{connection.select_values("SELECT number FROM marks").join(",")}")
    end
  end
end

# Rows that are rolled back must not be seen by anybody, while they are there or later.
class WriteJob
  include Sidekiq::Job

  def perform(number, open_s = 0.005)
    Entry.transaction do
      Entry.create!(number: number)
      Seen.note("wrote #{number}")
      sleep(open_s)
      raise ActiveRecord::Rollback if number.odd?
    end
  end
end

class ReadJob
  include Sidekiq::Job

  def perform(times)
    times.times do
      sleep(0.003)
      Seen.note("odd #{Entry.where("number % 2 = 1").count}")
    end
  end
end

# Holds a connection for a while, after it has waited for something else.
class HoldJob
  include Sidekiq::Job

  sidekiq_options retry: 0

  def perform(before_s, hold_s)
    sleep(before_s) if before_s.positive?
    return Seen.note("held") unless hold_s.positive?

    Entry.transaction do
      Entry.with_connection { |connection| connection.select_value("SELECT 1") }
      sleep(hold_s)
    end

    Seen.note("held")
  end
end

# Walks over a table, one step at a time.
class WalkJob
  include Sidekiq::IterableJob

  def build_enumerator(cursor:)
    Seen.note("from #{cursor.inspect}")
    active_record_records_enumerator(Entry.all, cursor: cursor, batch_size: 7)
  end

  def each_iteration(entry)
    sleep(0.02)
    Seen.note("step #{entry.number}")
  end
end

# Sleeps in a thread beside the fibers.
class BesideJob
  include Sidekiq::Job

  sidekiq_options gokiq_lane: "thread"

  def perform(seconds)
    sleep(seconds)
    Seen.note("beside")
  end
end
