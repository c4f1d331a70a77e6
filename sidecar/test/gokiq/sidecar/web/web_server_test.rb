# frozen_string_literal: true

require "minitest/autorun"

require "gokiq/sidecar/web/web_server"

# Which web server is taken.
class WebServerTest < Minitest::Test
	WebServer = Gokiq::Sidecar::WebServer

	THERE = WebServer::Server.new("there", %w[json], nil)
	ALSO = WebServer::Server.new("also", %w[set], nil)
	MISSING = WebServer::Server.new("missing", %w[json no/such/file], nil)

	def test_takes_the_first_that_can_be_loaded
		assert_same THERE, WebServer.find(known: [MISSING, THERE, ALSO])
	end

	def test_takes_the_one_that_was_asked_for
		assert_same ALSO, WebServer.find("also", known: [THERE, ALSO])
	end

	def test_says_in_one_line_what_to_add_when_there_is_none
		error = assert_raises(Gokiq::Sidecar::BootError) { WebServer.find(known: [MISSING]) }

		assert_equal "the app has no web server: missing cannot be loaded", error.message
		assert_equal "add one to its bundle: bundle add missing", error.hint
	end

	def test_takes_no_other_than_the_one_that_was_asked_for
		assert_raises(Gokiq::Sidecar::BootError) { WebServer.find("missing", known: [THERE, MISSING]) }
	end
end
