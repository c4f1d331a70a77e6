# frozen_string_literal: true

# An application with a job that ends its process.

require "sidekiq"

class ExitJob
	include Sidekiq::Job

	def perform
		exit!(3)
	end
end
