# frozen_string_literal: true

require "sidekiq"

require_relative "stock"

module Gokiq
	module Sidecar
		# What the application has put in place of parts of Sidekiq that do not run here, and what that means for it. An
		# operator must not find out by missing it.
		module Unused
			# @parameter config [Sidekiq::Config]
			# @returns [Array(String)] One line for each.
			def self.of(config)
				[fetch(config), enqueuing(config), paid].flatten.compact
			end

			# Gems that limit or order fetching replace Sidekiq's fetcher, or wrap its methods.
			def self.fetch(config)
				if (other = config[:fetch_class])
					"the fetcher #{other} is not used: gokiq claims jobs itself, what it limits or reorders is not limited or reordered"
				elsif defined?(::Sidekiq::BasicFetch) && !Stock.own?(::Sidekiq::BasicFetch, :retrieve_work, "fetch.rb")
					"Sidekiq::BasicFetch has been changed; that has no effect: gokiq claims jobs itself"
				end
			end
			private_class_method :fetch

			def self.enqueuing(config)
				return unless (other = config[:scheduled_enq])

				"scheduled_enq #{other} is not used: gokiq moves due jobs itself, through the app's client middleware"
			end
			private_class_method :enqueuing

			# Their jobs, middleware and sets work as far as they are made of Sidekiq's own parts.
			def self.paid
				%w[Pro Enterprise].filter_map do |edition|
					"Sidekiq #{edition} is loaded: what it changes in the server process (super_fetch, leader election, periodic jobs, rolling restarts) does not run here" if ::Sidekiq.const_defined?(edition, false)
				end
			end
			private_class_method :paid
		end
	end
end
