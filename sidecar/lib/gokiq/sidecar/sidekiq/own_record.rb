# frozen_string_literal: true

require "sidekiq/api"
require "sidekiq/component"

module Gokiq
	module Sidecar
		# The process record of the Sidekiq API as a worker sees it. There is one for the orchestrator and all of its workers,
		# and it holds the orchestrator's pid: a worker that looks for itself (`Process.pid`) must find it.
		module OwnRecord
			# Whose record is ours from now on, in every part of Sidekiq that asks.
			# @parameter identity [String]
			# @parameter config [Sidekiq::Config]
			def self.take(identity, config)
				config[:identity] = identity
				::Sidekiq::Component.class_variable_set(:@@identity, identity)
				::Sidekiq::Component.class_variable_set(:@@process_nonce, identity.split(":").last)
				@identity = identity
				::Sidekiq::Process.prepend(self)
			end

			# @attribute [String]
			def self.identity
				@identity
			end

			# @parameter key [String]
			def [](key)
				key == "pid" && super("identity") == OwnRecord.identity ? ::Process.pid : super
			end
		end
	end
end
