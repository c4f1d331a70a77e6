# frozen_string_literal: true

module Gokiq
	module Sidecar
		# Whether jobs in fibers can have locales of their own. i18n 1.14.8 alone keeps the locale in a variable of the thread,
		# which all of its fibers share. Source: i18n, `lib/i18n.rb`, `config`, in 1.14.7, 1.14.8 and 1.15.0.
		module Locale
			# @returns [String | Nil] What is wrong with it and what to do; nil if nothing is.
			def self.advice
				return unless defined?(::I18n.config) && shared?

				"i18n #{::I18n::VERSION} keeps one locale for all fibers, so that jobs would run in one another's: " \
					"update it to 1.15, or run with --lane thread"
			end

			# @returns [Boolean] Whether what one fiber sets is there in another one.
			def self.shared?
				before = ::I18n.config
				set_elsewhere = Fiber.new { ::I18n.config = before.dup }.resume
				found = ::I18n.config
				::I18n.config = before unless found.equal?(before)
				found.equal?(set_elsewhere)
			end
			private_class_method :shared?
		end
	end
end
