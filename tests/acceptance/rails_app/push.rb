# frozen_string_literal: true

require_relative "config/environment"
3.times { |i| GreetJob.perform_later("guest #{i}") }
StateJob.perform_bulk((1..40).map { |i| [i] })
