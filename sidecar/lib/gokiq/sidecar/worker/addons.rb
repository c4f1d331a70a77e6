# frozen_string_literal: true

require "sidekiq/launcher"

module Gokiq
	module Sidecar
		# What gems have hung into `Sidekiq::Launcher`, which does not run here: a scheduler that starts when Sidekiq does and
		# stops with it. Their modules are prepended to a launcher that does nothing by itself.
		class Addons
			# @returns [Array(Module)] The modules before Sidekiq's class, the first one outermost.
			def self.modules
				::Sidekiq::Launcher.ancestors.take_while { |ancestor| ancestor != ::Sidekiq::Launcher }
			end

			# @returns [Boolean] Whether there is anything to start.
			def self.any?
				modules.any?
			end

			# @returns [Boolean] Whether all of them have ended once they were told to be quiet: what runs and hears of `stop` alone,
			# or of nothing, goes on until its worker's end.
			def self.end_on_quiet?
				modules.all? { |addon| addon.method_defined?(:quiet, false) || !addon.method_defined?(:run, false) }
			end

			# @parameter config [Sidekiq::Config]
			def initialize(config)
				@launcher = shell.new(config, embedded: false)
			end

			# As Sidekiq starts.
			def run
				@launcher.run
			end

			# As Sidekiq's heartbeat.
			# @yields What that does here.
			def beat(&block)
				@launcher.at_heart = block
				@launcher.send(:beat)
			end

			# As Sidekiq stops fetching.
			def quiet
				@launcher.quiet
			end

			# As Sidekiq ends.
			def stop
				@launcher.stop
			end

			private

			def shell
				Class.new do
					include ::Sidekiq::Component

					def initialize(config, embedded: false)
						@config = config
						@done = false
					end

					attr_reader :config
					attr_writer :at_heart

					def run(async_beat: true)
					end

					def quiet
						@done = true
					end

					def stop
						quiet
					end

					def stopping?
						@done
					end

					def heartbeat
						❤
					end

					private

					def beat
						❤
					end

					def ❤
						@at_heart&.call
					end

					Addons.modules.reverse_each { |addon| prepend addon }
				end
			end
		end
	end
end
