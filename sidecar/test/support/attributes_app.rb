# frozen_string_literal: true

# An application with attributes that go from the client to the job.

require "sidekiq"
require "active_support"
require "active_support/current_attributes"
require "active_support/core_ext/string/inflections"
require "sidekiq/middleware/current_attributes"

class Current < ActiveSupport::CurrentAttributes
	attribute :user
end

Sidekiq::CurrentAttributes.persist("Current")

# Appends a line where the test reads it.
def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

# Waits until all of its kind run, then looks whether its own values are still there.
class AttributesJob
	include Sidekiq::Job

	class << self
		attr_accessor :running
	end

	self.running = 0

	def perform(number, together)
		ActiveSupport::IsolatedExecutionState[:number] = "n#{number}"
		self.class.running += 1
		sleep(0.005) until self.class.running == together
		user = Current.user
		raise "#{user.inspect} for #{number}" unless user == "u#{number}"

		note("saw #{user} #{ActiveSupport::IsolatedExecutionState[:number]}")
	ensure
		ActiveSupport::IsolatedExecutionState.delete(:number)
	end
end

# Has none.
class BareJob
	include Sidekiq::Job

	def perform
		note("bare #{Current.user.inspect} #{ActiveSupport::IsolatedExecutionState[:number].inspect}")
	end
end
