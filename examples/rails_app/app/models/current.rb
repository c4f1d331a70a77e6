# frozen_string_literal: true

# Who has caused what happens now; Sidekiq carries it from the request into the jobs, and into the jobs of jobs.
class Current < ActiveSupport::CurrentAttributes
	attribute :actor
end
