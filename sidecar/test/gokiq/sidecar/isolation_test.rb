# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# What jobs that run at once keep apart.
class IsolationTest < Minitest::Test
	include WithRoot

	APP = File.expand_path("../../support/attributes_app.rb", __dir__)

	def setup
		require "active_support"
	rescue LoadError
		skip "ActiveSupport is not there"
	end

	def test_attributes_of_forty_jobs
		root = start(app: APP)
		peer = root.connect
		assert_equal "fiber", peer.await_hello["isolation_level"]
		peer.greet
		peer.jobs((1..40).to_h { |number| [number, Peer.payload("AttributesJob", number, 40, cattr: {user: "u#{number}"})] })
		results = peer.results(*1..40)

		assert_equal [:ok], results.values.map(&:status).uniq, results.values.map(&:error_message).uniq.inspect
		assert_equal 40, root.notes.grep(/\Asaw /).size
		(1..40).each { |number| assert_includes root.notes, "saw u#{number} n#{number}" }

		# Nothing is left for a job that brings none.
		peer.jobs((41..80).to_h { |number| [number, ["BareJob"]] })
		peer.results(*41..80)
		assert_equal ["bare nil nil"], root.notes.grep(/\Abare/).uniq
	end
end
