# frozen_string_literal: true

require "minitest"

require_relative "root"

# For tests that start sidecars: ends them, whatever has happened.
module WithRoot
	# Start a sidecar and wait until it has booted.
	# @returns [Root]
	def start(**options)
		launch(**options).booted
	end

	# Start a sidecar.
	# @returns [Root]
	def launch(**options)
		(@roots ||= []) << Root.new(**options)
		@roots.last
	end

	# Of every test.
	def teardown
		@roots&.each(&:finish)
		super
	end
end
