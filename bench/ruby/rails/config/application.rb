# frozen_string_literal: true

require "rails"
require "action_controller/railtie"
require "active_job/railtie"
require "sidekiq"
require "sidekiq/rails"

module Bench
	# As small as a Rails app gets: no database, and no code reloading, which would make every job several times dearer.
	class Application < Rails::Application
		config.load_defaults 7.2
		config.root = File.expand_path("..", __dir__)
		config.enable_reloading = false
		config.eager_load = true
		config.active_support.isolation_level = :fiber
		config.active_job.queue_adapter = :sidekiq
		config.logger = ActiveSupport::Logger.new($stdout)
		config.log_level = :warn
		config.secret_key_base = "a benchmark has no secrets"
	end
end
