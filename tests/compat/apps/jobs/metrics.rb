# frozen_string_literal: true

# Takes 120 ms and a little more.
class MeasuredJob
  include Sidekiq::Job

  def perform
    sleep(0.12)
  end
end

# Fails, at once.
class UnmeasuredJob
  include Sidekiq::Job

  def perform
    raise ArgumentError, "not measured"
  end
end
