# frozen_string_literal: true

require_relative "deadlines"
require_relative "verdict"

module Gokiq
	module Sidecar
		# Deals with jobs that run longer than they may: first it asks, then it raises.
		class Enforcer
			# @parameter deadlines [Deadlines]
			def initialize(deadlines)
				@deadlines = deadlines
			end

			# Ask late jobs to stop. To be called from any thread.
			def ask
				@deadlines.each_late do |entry, _|
					next if entry.asked

					entry.asked = true
					entry.job.slot&.interrupt
				end
			end

			# Raise {JobTimeout} in jobs that have been asked for long enough. Only to be called in the reactor.
			def expire
				each_stubborn { |entry| entry.job.slot.time_out(entry.job, message(entry)) }
			end

			# The reactor stands still in one of them: raise it there. Only to be called from another thread.
			# @parameter reactor [Thread]
			def strike(reactor)
				each_stubborn do |entry|
					next false unless reactor[:gokiq_slot].equal?(entry.job.slot)

					entry.job.slot.cut
					reactor.raise(JobTimeout.new(message(entry)))
				end
			end

			private

			# Each is dealt with once, unless the block answers false.
			def each_stubborn
				@deadlines.each_late do |entry, late_s|
					next if entry.raised || late_s < Deadlines::ASKED_S || !entry.job.slot

					entry.raised = true
					entry.raised = false if yield(entry) == false
				end
			end

			def message(entry)
				"the job ran longer than its timeout of #{entry.seconds} s"
			end
		end
	end
end
