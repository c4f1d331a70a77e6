# frozen_string_literal: true

# Runs until its journal's folder has a file "released".
class HeldJob
  include Sidekiq::Job

  def perform(*)
    JOURNAL.record(jid, self.class) do
      sleep(0.02) until File.exist?(File.join(ENV.fetch("TEST_JOURNAL"), "released"))
    end
  end
end

# Tells which capsule runs it, and is held as well.
class CapsuleJob < HeldJob
  def perform(*)
    note("capsule", jid, Thread.current[:sidekiq_capsule].name)
    super
  end
end
