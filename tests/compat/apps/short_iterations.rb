# frozen_string_literal: true

# app.rb, whose iterable jobs are interrupted after a second.

require_relative "app"

Sidekiq.configure_server { |config| config[:max_iteration_runtime] = 1 }
