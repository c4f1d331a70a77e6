# frozen_string_literal: true

# A job of Sidekiq's own kind. Who did it comes in {Current}, not in the arguments.
class AuditJob
	include Sidekiq::Job

	def perform(action, number)
		Audit.create!(actor: Current.actor, action: action, number: number)
	end
end
