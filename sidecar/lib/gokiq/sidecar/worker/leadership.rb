# frozen_string_literal: true

require_relative "addons"
require_relative "leader"
require_relative "../sidekiq/stock"

module Gokiq
	module Sidecar
		# What one worker of all does alone, as this worker sees it: it does it, or waits for its turn.
		class Leadership
			# @parameter application [Application]
			# @parameter lifecycle [Lifecycle] Of the worker.
			# @parameter state [State] Of the worker.
			def initialize(application, lifecycle, state)
				@application = application
				@lifecycle = lifecycle
				@state = state
				@leads = false
			end

			# Before the first handler: find out whether another one leads.
			def stand
				return unless @lifecycle.shares? || Addons.any?

				@lifecycle.stand_by
				# Nobody else may hold it: the lock ends with the object.
				@leader = Leader.new(@application.leader_path)
				@leads = @leader.take
				@lifecycle.take_over if @leads
			end

			# After `startup`. Returns at once in the leader, in others when their turn comes.
			def lead
				return unless @leader

				unless @leads
					@leader.wait
					# One that is on its way out leaves it to another.
					return @leader.release if @state.quiet?

					@leads = true
					@lifecycle.take_over
				end

				run_addons if Addons.any?
				# The application's code has run.
				Stock.stir
			end

			# As Sidekiq's heartbeat: what is around that is called in the leader.
			def beat
				@addons ? @addons.beat { @lifecycle.beat } : @lifecycle.beat
			end

			# As Sidekiq stops fetching.
			def quiet
				@addons&.quiet
				@lifecycle.quiet
			end

			# As Sidekiq ends. Nobody else leads before everything here has been told that is for one worker alone; jobs may
			# still run.
			def shut_down
				@addons&.quiet
				@lifecycle.shutdown
				@leader.release if @leads && @lifecycle.handed_over? && (@addons.nil? || Addons.end_on_quiet?)
			end

			# As Sidekiq has ended.
			def stop
				@addons&.stop
			end

			private

			def run_addons
				@addons = Addons.new(@application.config)
				@application.in_lane { @addons.run }
			end
		end
	end
end
