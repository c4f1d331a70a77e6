# frozen_string_literal: true

require "sidekiq"
require "sidekiq/fetch"

module Sidekiq
	# What sidekiq-pauzer looks like from outside.
	module Pauzer
		# Of paused queues.
		class Repository
			REDIS_KEY = "sidekiq-pauzer"
		end

		module Patches
			# In the fetcher.
			module BasicFetch
				private

				def queues_cmd
					raise "nobody calls it here"
				end
			end
		end
	end

	BasicFetch.prepend(Pauzer::Patches::BasicFetch)
end
