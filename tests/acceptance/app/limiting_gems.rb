# frozen_string_literal: true

# Gems that limit and pause, as they look from outside, and jobs under their limits.
shapes = File.expand_path("../../../sidecar/test/support", __dir__)
%w[throttled_shape pauzer_shape limit_fetch_shape].each { |name| require File.join(shapes, name) }
require_relative "../plain_app/app"

# One at once, whatever its subclass.
class OneJob < SleepJob
  include Sidekiq::Throttled::Job

  sidekiq_throttle concurrency: {limit: 1}
end

class OtherOneJob < OneJob
end

# So many in any two seconds.
class RateJob < SleepJob
  include Sidekiq::Throttled::Job

  sidekiq_throttle threshold: {limit: 4, period: 2}
end
