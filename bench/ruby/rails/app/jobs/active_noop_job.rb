# frozen_string_literal: true

# Rails's own kind of job.
class ActiveNoopJob < ActiveJob::Base
	# @parameter index [Integer]
	def perform(index)
		SLOTS.done(index)
	end
end
