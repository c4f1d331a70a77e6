# frozen_string_literal: true

# Ends in the dead set.
class HopelessJob
	include Sidekiq::Job

	sidekiq_options retry: 0

	def perform(number)
		Attempt.transaction do
			Attempt.create!(number: number)
			raise "never works"
		end
	end
end
