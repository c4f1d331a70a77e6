# frozen_string_literal: true

require_relative "deadlines"

module Gokiq
	module Sidecar
		# What a worker's parts tell one another about its life.
		class State
			# @parameter deadlines [Deadlines]
			def initialize(deadlines = Deadlines.new)
				@deadlines = deadlines
				@quiet = false
				@leaving = false
			end

			# @attribute [Deadlines] Of running jobs.
			attr :deadlines

			# @returns [Boolean] Whether jobs are asked to stop at their next chance.
			def quiet?
				@quiet
			end

			# Jobs are asked to stop at their next chance.
			def quiet!
				@quiet = true
			end

			# @returns [Boolean] Whether the worker takes no more jobs.
			def leaving?
				@leaving
			end

			# The worker takes no more jobs.
			def leave!
				@leaving = true
			end
		end
	end
end
