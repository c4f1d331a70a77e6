# frozen_string_literal: true

require_relative "boot"

require "rails"
require "active_record/railtie"
require "active_job/railtie"
require "action_controller/railtie"
require "action_mailer/railtie"
require "sidekiq"
require "sidekiq/rails"

module Shop
	# A small shop: orders are placed, charged and confirmed by jobs of every kind.
	class Application < Rails::Application
		config.load_defaults 7.2

		# The one line that running jobs in fibers asks of an app. Sidekiq and Puma run as before with it.
		config.active_support.isolation_level = :fiber

		config.active_job.queue_adapter = :sidekiq
		config.action_mailer.delivery_method = :outbox
		config.action_mailer.default_url_options = {host: "shop.example"}
		config.i18n.available_locales = %i[en de]
		config.secret_key_base = "an example has no secrets"
		config.session_store :cookie_store, key: "_shop"
		config.generators.system_tests = nil
	end
end
