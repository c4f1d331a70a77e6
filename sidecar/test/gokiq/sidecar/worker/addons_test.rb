# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# Schedulers that gems hang into Sidekiq's launcher.
class AddonsTest < Minitest::Test
	include WithRoot

	APP = File.expand_path("../../../support/addon_app.rb", __dir__)

	%w[fiber thread].each do |lane|
		define_method(:"test_it_runs_in_one_worker_from_start_to_stop_in_a_#{lane}") do
			root = start(app: APP, workers: 2, env: {"GOKIQ_LANE" => lane})
			peers = Array.new(2) { root.greet }
			Wait.for("ticks") { root.notes.count("tick") > 3 }
			assert_equal 1, root.notes.count { |line| line.start_with?("ran") }
			assert_match(/config=Sidekiq::Config logger=true/, root.note(/\Aran/))

			peers.each { |peer| peer.send(:QUIET) }
			root.note("quiet")
			peers.each { |peer| peer.send(:DRAIN, [1.0].pack("G")) }
			root.note("stopped")
		end
	end

	def test_another_worker_goes_on_when_the_first_is_gone
		root = start(app: APP, workers: 2)
		Array.new(2) { root.greet }
		first = root.note(/\Aran pid=/)[/\d+/].to_i
		Process.kill(:KILL, first)
		Wait.for("another") { root.notes.count { |line| line.start_with?("ran") } == 2 }
	end
end
