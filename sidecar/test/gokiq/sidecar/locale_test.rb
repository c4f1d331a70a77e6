# frozen_string_literal: true

require "minitest/autorun"
require "i18n"

require "gokiq/sidecar/locale"

# Locales of jobs that run side by side in fibers.
class LocaleTest < Minitest::Test
	Locale = Gokiq::Sidecar::Locale

	# As i18n 1.14.8 keeps it.
	module PerThread
		def config
			Thread.current.thread_variable_get(:locale_test) || Thread.current.thread_variable_set(:locale_test, I18n::Config.new)
		end

		def config=(value)
			Thread.current.thread_variable_set(:locale_test, value)
		end
	end

	# As i18n up to 1.14.7 keeps it.
	module PerFiber
		def config
			Thread.current[:locale_test] ||= I18n::Config.new
		end

		def config=(value)
			Thread.current[:locale_test] = value
		end
	end

	def test_the_installed_i18n_is_safe
		assert_nil Locale.advice
	end

	def test_a_locale_of_the_fiber_is_safe
		assert_nil advice_with(PerFiber)
	end

	def test_a_locale_of_the_thread_is_told
		assert_match(/i18n \S+ keeps one locale for all fibers/, advice_with(PerThread))
	end

	def test_looking_changes_nothing
		I18n.available_locales = %i[en de]
		I18n.with_locale(:de) do
			Locale.advice

			assert_equal :de, I18n.locale
		end
	end

	private

	# In a process of its own, since a module cannot be taken out again.
	def advice_with(storage)
		reader, writer = IO.pipe

		child = fork do
			reader.close
			I18n.singleton_class.prepend(storage)
			writer.write(Marshal.dump(Locale.advice))
			exit!(0)
		end

		writer.close
		Marshal.load(reader.read)
	ensure
		Process.wait(child)
	end
end
