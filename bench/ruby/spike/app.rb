# frozen_string_literal: true

# Jobs that change a row each, through a pool as large as the jobs that the server may run at once.

require "connection_pool"
require "pg"

require_relative "../server"

# Charges an account.
class ChargeJob
	include Sidekiq::Job

	# Connects as jobs need it, after the fork.
	POOL = ConnectionPool.new(size: Integer(ENV.fetch("SPIKE_POOL", "1")), timeout: 30) do
		PG.connect(ENV.fetch("SPIKE_POSTGRES_URL"), application_name: "jobs")
	end

	# @parameter index [Integer]
	# @parameter accounts [Integer] How many there are.
	def perform(index, accounts)
		# A prime, so that jobs which run at once are spread over the accounts:
		account = index * 7919 % accounts
		POOL.with { |connection| connection.exec_params("SELECT charge($1)", [account]) }
		SLOTS.done(index)
	end
end
