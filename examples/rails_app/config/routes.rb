# frozen_string_literal: true

require "sidekiq/web"

Rails.application.routes.draw do
	mount Sidekiq::Web => "/sidekiq"
	root to: redirect("/sidekiq")
end
