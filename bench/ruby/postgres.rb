# frozen_string_literal: true

# Jobs that wait for a database, through a pool as Active Record has one.

require "connection_pool"
require "pg"

require_relative "server"

# Asks for what takes 50 ms.
class PostgresJob
	include Sidekiq::Job

	# Connects as jobs need it, after the fork.
	POOL = ConnectionPool.new(size: 20, timeout: 30) { PG.connect(ENV.fetch("BENCH_POSTGRES_URL")) }

	# @parameter index [Integer]
	def perform(index)
		POOL.with { |connection| connection.exec("SELECT pg_sleep(0.05)") }
		SLOTS.done(index)
	end
end
