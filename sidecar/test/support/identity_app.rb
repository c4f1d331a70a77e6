# frozen_string_literal: true

# An application that asks who it is. Agents look at the name of the program while they are loaded.

require_relative "plain_app"

PROGRAM = File.basename($0)

# Who Sidekiq says that we are.
module WhoAmI
	include Sidekiq::Component

	# @returns [String] Our identity, and whether our record alone has our pid.
	def who
		pids = [identity, "other:1:ffff"].map { |name| Sidekiq::Process.new("identity" => name, "pid" => 1)["pid"] }
		"#{identity} #{pids == [Process.pid, 1]}"
	end
end

# The same in a job.
class IdentityJob
	include Sidekiq::Job
	include WhoAmI

	def perform = note("job #{who} #{Thread.current.name}")
end

Sidekiq.configure_server do |config|
	config.on(:startup) { note("startup #{IdentityJob.new.who} #{PROGRAM}") }
end
