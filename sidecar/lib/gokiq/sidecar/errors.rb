# frozen_string_literal: true

module Gokiq
	module Sidecar
		# Base of every error of the sidecar itself.
		class Error < StandardError
		end

		# The sidecar cannot start; the message is one line for a person, the hint says what to change.
		class BootError < Error
			# @parameter message [String] What is wrong, in one line.
			# @parameter hint [String | Nil] What to set or run.
			# @parameter error_class [String] The class to report, when it stands for another error.
			def initialize(message, hint: nil, error_class: self.class.name)
				super(message)

				@hint = hint
				@error_class = error_class
			end

			# @attribute [String | Nil] What to set or run.
			attr :hint

			# @attribute [String] The class to report.
			attr :error_class
		end

		# The peer broke the protocol. The connection cannot go on.
		class ProtocolError < Error
			# @parameter code [Symbol] One of `:too_long`, `:unknown_type`, `:wrong_direction`, `:bad_body`, `:sequence`.
			# @parameter message [String] What was wrong.
			def initialize(code, message)
				super(message)

				@code = code
			end

			# @attribute [Symbol] The kind of violation.
			attr :code
		end
	end
end
