# frozen_string_literal: true

module Gokiq
	module Sidecar
		VERSION = "0.1.0"

		# The versions of the wire protocol that this sidecar speaks.
		PROTOCOLS = [1].freeze
	end
end
