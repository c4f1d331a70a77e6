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
		assert_match(%r{\A#{@folder}/app\.rb:2:in }, failure["at"])
	end

	def test_message_of_many_lines
		failure = assert_boot_fails(launch(app: app("raise \"one\\n\\n two\\nthree\\nfour\"")))

		assert_equal "one | two | three", failure["message"]
	end

	def test_error_in_the_options
		{
			%w[-c abc] => /abc/,
			%w[-c 0] => /concurrency/,
			%w[--nope] => /--nope/,
			["-C", File.join(@folder, "none.yml")] => /none\.yml/,
		}.each do |options, pattern|
			arguments = JSON.generate(["-r", app(""), *options])
			failure = assert_boot_fails(launch(env: {"GOKIQ_SIDEKIQ_ARGS" => arguments}))

			assert_match pattern, failure["message"]
			assert_match(/options/, failure["hint"])
			assert_nil failure["at"]
		end
	end

	def test_error_in_the_configuration_file
		file = File.join(@folder, "bad.yml")
		File.write(file, "a: [1\nb: {")
		failure = assert_boot_fails(launch(env: {"GOKIQ_SIDEKIQ_ARGS" => JSON.generate(["-r", app(""), "-C", file])}))

		assert_equal "ConfigError", failure["error_class"]
		assert failure["message"].start_with?("#{file}: line 1, column 4: no valid YAML: did not find"), failure["message"]
		assert_nil failure["hint"]
	end

	# As i18n 1.14.8 does.
	SHARED_LOCALE = <<~RUBY
		require "i18n"

		def I18n.config
			Thread.current.thread_variable_get(:i18n_config) || Thread.current.thread_variable_set(:i18n_config, I18n::Config.new)
		end
	RUBY

	def test_one_locale_for_all_fibers
		failure = assert_boot_fails(launch(app: app(SHARED_LOCALE), env: {"GOKIQ_LANE" => "fiber"}))

		assert_match(/i18n [\d.]+ has one locale for all/, failure["message"])
		assert_match(/1\.15 or later, or run with --lane thread/, failure["hint"])
	end

	def test_one_locale_for_each_fiber
		assert launch(app: app("require 'i18n'\nI18n.default_locale"), env: {"GOKIQ_LANE" => "fiber"}).event("booted")
	end

	def test_one_locale_for_all_fibers_of_a_thread
		assert launch(app: app(SHARED_LOCALE), env: {"GOKIQ_LANE" => "thread"}).event("booted")
	end

	def test_startup_handler_that_raises
		root = launch(app: app("require 'sidekiq'\nSidekiq.configure_server { |c| c.on(:startup) { raise 'no licence' } }"), workers: 2)
		failure = root.event("boot_failed")

		assert_equal ["RuntimeError", "a startup handler: no licence"], failure.values_at("error_class", "message")
		assert_match(/app\.rb:2/, failure["at"])
		assert_equal 1, root.await_exit
	end

	def test_gem_that_is_missing
		FileUtils.mkdir_p(File.join(@folder, "async"))
		File.write(File.join(@folder, "async/service.rb"), "raise LoadError.new('cannot load such file -- async/service').tap { |error| error.define_singleton_method(:path) { 'async/service' } }")
		failure = assert_boot_fails(launch(env: {"RUBYLIB" => [@folder, ENV["RUBYLIB"]].compact.join(":")}))

		assert_match(/bundle add gokiq-sidecar/, failure["hint"])
	end

	def test_syntax_error_in_the_app
		failure = assert_boot_fails(launch(app: app("class Broken\n  def x(\nend")))

		assert_equal "SyntaxError", failure["error_class"]
		assert_match(/app\.rb/, failure["message"])
		assert_match(/app\.rb:\d\z/, failure["at"])
	end

	def test_exit_in_the_app
		assert_equal "SystemExit", assert_boot_fails(launch(app: app("exit 3")))["error_class"]
	end

	def test_app_that_is_not_there
		failure = assert_boot_fails(launch(app: File.join(@folder, "nope.rb")))

		assert_match(/nope\.rb/, failure["message"])
		assert_match(/-r/, failure["hint"])
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
