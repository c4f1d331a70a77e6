# frozen_string_literal: true

# An application with a gem that starts a scheduler, and nothing else.

require_relative "plain_app"
require_relative "gems/lib/sidekiq-scheduler"
