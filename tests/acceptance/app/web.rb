# frozen_string_literal: true

# An app with a Redis of its own for clients and a tab of its own in the Web UI, which tells how it was loaded.

require "sidekiq"
require "sidekiq/web"

Sidekiq.configure_client { |config| config.redis = {url: ENV.fetch("TEST_REDIS")} }
Sidekiq.configure_server { |_| raise "this is no server" }

module Shop
	def self.registered(app)
		app.get("/shop") do
			erb("shop: server=#{Sidekiq.server?.inspect} environment=#{ENV.values_at("RAILS_ENV", "RACK_ENV").join(",")} password=#{ENV["GOKIQ_WEB_AUTH"].inspect}")
		end
	end
end

tab = {name: "shop", tab: "Shop", index: "shop"}
if Sidekiq::Web.respond_to?(:configure)
	Sidekiq::Web.configure { |config| config.register_extension(Shop, **tab) }
else
	Sidekiq::Web.register(Shop, **tab)
end
