# frozen_string_literal: true

require "sidekiq"
require "sidekiq/fetch"
require "sidekiq/manager"

module Sidekiq
	# What sidekiq-limit_fetch looks like from outside.
	module LimitFetch
	end

	class Manager
		# Would put its fetcher in place of Sidekiq's.
		module InitLimitFetch
			def initialize(capsule)
				capsule.config[:fetch_class] = LimitFetch
				super
			end
		end

		prepend InitLimitFetch
	end
end
