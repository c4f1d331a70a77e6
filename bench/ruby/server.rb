# frozen_string_literal: true

# What every application of the benchmarks has in its servers: the log level, and the slots where jobs note their end.

require "sidekiq"

require_relative "slots"

Sidekiq.configure_server do |config|
	config.logger.level = Logger.const_get(ENV.fetch("BENCH_LOG_LEVEL", "WARN"))
	SLOTS = Bench::Slots.new(ENV.fetch("BENCH_SLOTS"))
end
