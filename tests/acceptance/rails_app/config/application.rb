# frozen_string_literal: true

require "rails"
require "active_record/railtie" if ENV["DATABASE_URL"]
require "active_job/railtie"
require "sidekiq"
require "sidekiq/rails"

# The smallest Rails application with jobs.
class TestApp < Rails::Application
  config.load_defaults 7.2
  config.root = File.expand_path("..", __dir__)
  config.eager_load = false
  config.enable_reloading = ENV["TEST_RELOADING"] == "1"
  config.secret_key_base = "only for tests"
  config.logger = Logger.new($stdout, level: Logger::WARN)
  config.log_level = :warn
  config.active_job.queue_adapter = :sidekiq
  config.active_support.isolation_level = ENV.fetch("TEST_ISOLATION", "fiber").to_sym
end

# One request's worth of state, to see that no job meets another's.
class Current < ActiveSupport::CurrentAttributes
  attribute :user
end

module Seen
  def self.note(line)
    File.open(ENV.fetch("TEST_SEEN"), "a") { |file| file.syswrite("#{line}\n") }
  end
end

# A job of Rails.
class GreetJob < ActiveJob::Base
  def perform(name)
    Seen.note("greet #{name} #{provider_job_id}")
  end
end

# Its state must be its own although forty of them wait in one thread.
class StateJob
  include Sidekiq::Job

  def perform(user)
    Current.user = user
    sleep(0.1)
    Seen.note("state #{user} #{Current.user} #{Thread.current == Thread.main}")
  end
end
