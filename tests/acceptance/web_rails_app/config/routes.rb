# frozen_string_literal: true

require "sidekiq/web"

# Tells of the app, in a tab that is registered where Sidekiq's documentation says.
module Till
	def self.registered(app)
		app.get("/till") { erb("till: #{Rails.application.class} in #{Dir.pwd}, #{Rails.env}") }
	end
end

tab = {name: "till", tab: "Till", index: "till"}
if Sidekiq::Web.respond_to?(:configure)
	Sidekiq::Web.configure { |config| config.register_extension(Till, **tab) }
else
	Sidekiq::Web.register(Till, **tab)
end

Rails.application.routes.draw { mount Sidekiq::Web => "/sidekiq" }
