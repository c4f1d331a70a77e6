# frozen_string_literal: true

require "rails"
require "action_controller/railtie"
require "sidekiq"

module WebShop
	class Application < Rails::Application
		config.load_defaults 7.2
		config.eager_load = false
		config.secret_key_base = "x" * 64
		config.logger = Logger.new(nil)
	end
end
