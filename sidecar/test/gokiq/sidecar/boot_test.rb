# frozen_string_literal: true

require "minitest/autorun"
require "support/with_root"

# What keeps a sidecar from coming up, and what does not.
class BootTest < Minitest::Test
	include WithRoot

	def setup
		@folder = Dir.mktmpdir("gokiq")
	end

	def teardown
		super
		FileUtils.rm_rf(@folder)
	end

	def app(text)
		File.join(@folder, "app.rb").tap { |path| File.write(path, text) }
	end

	def assert_boot_fails(root)
		failure = root.event("boot_failed")
		assert_equal 1, root.await_exit
		assert_equal root.pid, failure["pid"]
		refute_includes failure["message"], "\n"
		failure
	end

	def test_error_in_the_app
		failure = assert_boot_fails(launch(app: app("\nraise ArgumentError, 'no key'")))

		assert_equal ["ArgumentError", "no key"], failure.values_at("error_class", "message")
	end

	def test_syntax_error_in_the_app
		failure = assert_boot_fails(launch(app: app("class Broken\n  def x(\nend")))

		assert_equal "SyntaxError", failure["error_class"]
		assert_match(/app\.rb/, failure["message"])
	end

	def test_exit_in_the_app
		assert_equal "SystemExit", assert_boot_fails(launch(app: app("exit 3")))["error_class"]
	end

	def test_app_that_is_not_there
		failure = assert_boot_fails(launch(app: File.join(@folder, "nope.rb")))

		assert_equal "SystemExit", failure["error_class"]
	end

	def test_missing_library
		failure = assert_boot_fails(launch(app: app("require 'no_such_library'")))

		assert_equal "LoadError", failure["error_class"]
		assert_match(/no_such_library/, failure["message"])
	end

	def test_unusable_setting
		failure = assert_boot_fails(launch(env: {"GOKIQ_WORKERS" => "many"}))

		assert_match(/GOKIQ_WORKERS/, failure["message"])
	end

	def test_stale_socket_is_replaced
		root = start(before: ->(path) { UNIXServer.new(path).close })

		root.greet.jobs(1 => ["NoteJob", "a"])
		assert root.note(/\Aa /)
	end

	def test_socket_is_private
		assert_equal 0o600, File.stat(start.socket_path).mode & 0o777
	end

	def test_socket_in_use
		other = nil
		failure = assert_boot_fails(launch(before: ->(path) { other = UNIXServer.new(path) }))

		assert_match(/another sidecar/, failure["message"])
		assert failure["hint"]
	ensure
		other&.close
	end

	def test_file_in_the_way_is_kept
		root = launch(before: ->(path) { File.write(path, "precious") })

		assert_match(/no socket/, assert_boot_fails(root)["message"])
		assert_equal "precious", File.read(root.socket_path)
	end

	def test_booted_tells_the_time
		root = start

		assert_operator root.event("booted")["seconds"], :>, 0
	end
end
