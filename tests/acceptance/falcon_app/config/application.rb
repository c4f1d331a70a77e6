# frozen_string_literal: true

require "rails"
require "action_controller/railtie"
require "sidekiq/rails"

begin
  require "falcon" # as Bundler does: its railtie sets the isolation level
rescue LoadError
  Rails::Railtie::Configuration.new.active_support.isolation_level = :fiber
end

# Says in which isolation level it runs.
class FalconApp < Rails::Application
  config.load_defaults 7.2
  config.root = File.expand_path("..", __dir__)
  config.eager_load = false
  config.enable_reloading = false
  config.secret_key_base = "only for tests"
  config.logger = Logger.new($stdout, level: Logger::WARN)
  config.hosts.clear
  routes.append { root to: ->(_) { [200, {}, [ActiveSupport::IsolatedExecutionState.isolation_level.to_s]] } }
end
