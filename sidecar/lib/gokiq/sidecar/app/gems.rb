# frozen_string_literal: true

require_relative "gems/limit_fetch"
require_relative "gems/pauzer"
require_relative "gems/throttled"

module Gokiq
	module Sidecar
		# Gems that limit or pause where Sidekiq fetches jobs. gokiq reads what they were told, from their own registries and
		# keys, and obeys it before it claims a job.
		module Gems
			ALL = [Throttled, LimitFetch, Pauzer].freeze

			# @parameter config [Sidekiq::Config]
			# @returns [Hash] Name of each gem that is loaded => what HELLO says of it (docs/protocol.md, section 3).
			def self.settings(config)
				there.to_h { |gem| [gem::NAME, gem.settings(config)] }
			end

			# @returns [Array(Module)] Those that are loaded.
			def self.there
				ALL.select(&:there?)
			end

			# @parameter part [Module] Put into one of Sidekiq's classes.
			# @returns [Boolean] Whether it belongs to a gem that is obeyed.
			def self.obeyed?(part)
				there.any? { |gem| gem::PARTS.match?(part.name.to_s) }
			end
		end
	end
end
