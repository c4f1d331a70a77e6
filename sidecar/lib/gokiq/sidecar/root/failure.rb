# frozen_string_literal: true

require_relative "../errors"

module Gokiq
	module Sidecar
		# Why something did not come up, as `boot_failed` tells it: in one line, with the place in the application's code.
		class Failure
			# Exit status of a worker that could not start.
			STATUS = 78

			# The longest message, in bytes: it has to fit a datagram.
			MESSAGE_BYTES = 2_000

			# Lines of a message that are kept; syntax errors have many.
			LINES = 3

			# The sidecar's own files are never the application's.
			OWN = File.expand_path("../../../..", __dir__) + "/"

			# @parameter text [String] UTF-8.
			# @parameter addresses [Array(String)] Beside those in the environment.
			# @returns [String] Without the user and password of addresses in it, whatever they are made of.
			def self.masked(text, *addresses)
				secrets = [*addresses, *ENV.values].flat_map { |address| secrets_of(address.dup.force_encoding(text.encoding).scrub) }
				text = secrets.sort_by { |secret| -secret.size }.inject(text) { |masked, secret| masked.gsub(secret, "…") }
				text.gsub(%r{(?<=://)[^\s"]*@}, "…@")
			end

			# User and password as they stand, and as error messages quote them.
			def self.secrets_of(address)
				secret = address[%r{\A[a-z][a-z0-9+.-]*://(.+)@}im, 1]
				secret ? [secret, secret.inspect[1..-2]].uniq : []
			end
			private_class_method :secrets_of

			# @parameter error [Exception]
			# @parameter prefix [String] Said before the message.
			# @parameter roots [Array(String)] Folders of the application.
			def initialize(error, prefix = "", roots: [Dir.pwd])
				@error = error
				@prefix = prefix
				@roots = roots.map { |root| root.end_with?("/") ? root : "#{root}/" }
			end

			# @returns [Hash] For {Monitor#call}.
			def to_h
				{error_class: name, message: message, at: at, hint: @error.is_a?(BootError) ? @error.hint : nil}
			end

			# @returns [String]
			def name
				@error.is_a?(BootError) ? @error.error_class : @error.class.name
			end

			# @returns [String] One line.
			def message
				lines = @error.message.to_s.scrub.lines.map(&:strip).reject(&:empty?)
				self.class.masked(@prefix + lines.first(LINES).join(" | ")).byteslice(0, MESSAGE_BYTES).scrub("")
			end

			# @returns [String | Nil] The first frame in the application's own code.
			def at
				return "#{@error.path}:#{@error.message[/:(\d+):/, 1]}" if SyntaxError === @error && @error.path

				frames = @error.backtrace || []
				frames.find { |frame| @roots.any? { |root| frame.start_with?(root) } && !frame.start_with?(OWN) }
			end
		end
	end
end
