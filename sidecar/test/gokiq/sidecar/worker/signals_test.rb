# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# Signals that the application has trapped, as Sidekiq hands them on, and who Sidekiq says that a worker is.
class SignalsTest < Minitest::Test
	include WithRoot

	TRAPPING = File.expand_path("../../../support/trapping_app.rb", __dir__)
	IDENTITY = File.expand_path("../../../support/identity_app.rb", __dir__)

	def test_what_the_app_has_trapped_hears_of_it_once
		root = start(app: TRAPPING)
		peer = root.greet
		pid = peer.hello["pid"]
		assert_match(/port \d+ was opened while the app was loaded: the root answers there/, root.log)
		2.times { |index| Process.kill(:TTIN, pid) && Wait.for("TTIN") { root.notes.count("trapped TTIN 21 pid=#{pid}") == index + 1 } }
		2.times { peer.send(:QUIET) }
		root.note("trapped TSTP 20 pid=#{pid}")
		peer.jobs(1 => ["NoteJob", "a"])
		assert_equal :ok, peer.results(1).fetch(1).status
		peer.send(:DRAIN, [5.0].pack("G"))
		peer.expect(:DRAIN)
		peer.expect(:GOODBYE)
		Wait.for("its end") { !Root.alive?(pid) }
		assert_equal 1, root.notes.count("trapped TSTP 20 pid=#{pid}")
		assert_equal 1, root.notes.count("trapped TERM 15 pid=#{pid}")
	end

	def test_a_worker_is_the_orchestrator_and_finds_its_own_record
		root = start(app: IDENTITY, env: {"GOKIQ_IDENTITY" => "me:1:ffff"})
		root.connect.tap(&:await_hello).close
		peer = root.connect
		peer.await_hello
		root.note("startup me:1:ffff true sidekiq")
		peer.greet
		peer.jobs(1 => ["IdentityJob"])
		peer.results(1)
		# The orchestrator that has come has the last word.
		root.note("job test:1:0 true sidekiq.default/processor")
	end
end
