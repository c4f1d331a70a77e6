# frozen_string_literal: true

require "sidekiq/middleware/current_attributes"
require "sidekiq/middleware/i18n"

Sidekiq::CurrentAttributes.persist("Current")
