# frozen_string_literal: true

# Sets up the app's bundle, as `-rbundler/setup` does; where that cannot be done, says why in one line and exits with 1.
# Loaded by `-r` before anything else: of a gem that Ruby brings, too, the bundle may want another version.

begin
	# To a terminal Bundler would write several lines and exit by itself.
	STDOUT.define_singleton_method(:tty?) { false }
	require "bundler/setup"
rescue StandardError, LoadError, SystemExit => error
	require_relative "failure"
	require_relative "monitor"

	details = Gokiq::Sidecar::Failure.new(error).to_h
	details.merge!(message: details[:message].delete_suffix("."), at: nil, hint: "run bundle install in the app's folder")
	monitor = Gokiq::Sidecar::Monitor.new(ENV["GOKIQ_MONITOR"])
	told = monitor.call("boot_failed", **details)
	warn("gokiq: #{details[:error_class]}: #{details[:message]}; #{details[:hint]}") unless told
	exit!(1)
ensure
	STDOUT.singleton_class.remove_method(:tty?)
end
