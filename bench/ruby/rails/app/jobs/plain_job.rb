# frozen_string_literal: true

# Sidekiq's own kind of job.
class PlainJob
	include Sidekiq::Job

	# @parameter index [Integer]
	def perform(index)
		SLOTS.done(index)
	end
end
