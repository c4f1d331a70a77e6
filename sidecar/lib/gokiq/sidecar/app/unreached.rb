# frozen_string_literal: true

require "sidekiq"
require "sidekiq/fetch"
require "sidekiq/launcher"
require "sidekiq/scheduled"

require_relative "../sidekiq/fingerprint"
require_relative "../sidekiq/stock"

module Gokiq
	module Sidecar
		# Methods of Sidekiq that somebody has changed and that are never called here, because gokiq does their work itself. Found
		# as {Stock} finds those that jobs meet; an operator hears of them at boot, once. Of the fetcher and the manager, whose
		# changes protect jobs, {Unobeyed} speaks.
		module Unreached
			# Of some classes only these never run; of the others nothing does.
			SOME = {
				::Sidekiq::Processor => %i[start run process_one get_one fetch handle_fetch_exception process kill],
				::Sidekiq::Capsule => %i[stop],
				::Sidekiq::Config => %i[redis_info],
			}.freeze

			# {Addons} calls them if they are in a module before the class.
			HEARD = {
				::Sidekiq::Launcher => %i[initialize run quiet stop stopping? beat heartbeat ❤],
			}.freeze

			CLASSES = [*SOME.keys, ::Sidekiq::Launcher, ::Sidekiq::Scheduled::Poller, ::Sidekiq::Scheduled::Enq, ::Sidekiq::BasicFetch::UnitOfWork].freeze

			@fingerprints = CLASSES.to_h { |mod| [mod, Fingerprint.new(mod, [*Stock::HOMES, "#{File.expand_path("..", __dir__)}/"])] }

			# @returns [String | Nil] One line that names them all.
			def self.of
				names = CLASSES.flat_map { |mod| changed(mod).map { |name| "#{mod}##{name} (#{origin(mod, name)})" } }
				"changed by the app, but never called: gokiq does their work itself: #{names.join(", ")}" if names.any?
			end

			def self.changed(mod)
				names = @fingerprints.fetch(mod).changed - Stock::IDLE
				names &= SOME[mod] if SOME.key?(mod)
				names.reject { |name| told?(mod, name) }
			end
			private_class_method :changed

			def self.told?(mod, name)
				before = mod.ancestors.index(method_of(mod, name).owner).to_i < mod.ancestors.index(mod)
				before && HEARD.fetch(mod, []).include?(name)
			end
			private_class_method :told?

			# @returns [String] The module, or the file and line.
			def self.origin(mod, name)
				method = method_of(mod, name)
				return method.owner.name if method.owner != mod && method.owner.name

				method.source_location ? method.source_location.join(":") : "removed"
			end
			private_class_method :origin

			# Of the class itself, where no object has it.
			def self.method_of(mod, name)
				mod.instance_method(name)
			rescue NameError
				mod.method(name)
			end
			private_class_method :method_of
		end
	end
end
