# frozen_string_literal: true

require "sidekiq"

# Sidekiq's own handler logs the job of an error.
Sidekiq.configure_server { |config| config.error_handlers.clear }

# Ends well.
class QuietJob
  include Sidekiq::Job

  def perform(_secret)
  end
end

# Does not.
class FailingJob
  include Sidekiq::Job
  sidekiq_options retry: 0

  def perform(_secret)
    raise ArgumentError, "no way"
  end
end

# Kills its worker.
class DeadlyJob
  include Sidekiq::Job

  def perform(_secret)
    Process.kill(:KILL, Process.pid)
    sleep
  end
end

# Blocks its reactor.
class StallingJob
  include Sidekiq::Job

  def perform(_secret)
    stop = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 3
    nil while Process.clock_gettime(Process::CLOCK_MONOTONIC) < stop
  end
end

raise "cannot reach #{ENV["REDIS_URL"]}" if ENV["TEST_RAISE"]
