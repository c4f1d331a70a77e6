# frozen_string_literal: true

# An application that changes one method of Sidekiq's, as PATCH says: class, method, way, moment. Each call of it is noted
# while a job runs, with the number of the job.

require "json"
require "sidekiq"

PATCH = JSON.parse(ENV.fetch("PATCH"))

# Bear witness.
def witness(text)
	File.open(ENV.fetch("TEST_NOTES"), "a") { |file| file.syswrite("#{text}\n") }
end

# Changes the method.
module Patch
	NOTE = lambda do |name, &block|
		# Other parts of a server use the same classes, each when it likes.
		jid = Sidekiq::Context.current[:jid]
		next block.call unless jid

		witness("#{jid[-1]} #{name}")
		block.call
	ensure
		witness("#{jid[-1]} end of #{name}") if jid
	end

	def self.call
		owner, name = Object.const_get(PATCH["class"]), PATCH["method"].to_sym
		private_method = owner.private_method_defined?(name)

		case PATCH["way"]
		when "prepend"
			owner.prepend(Module.new do
				define_method(name) { |*arguments, **options, &block| NOTE.call(name) { super(*arguments, **options, &block) } }
				private(name) if private_method
			end)
		when "alias"
			owner.class_eval do
				alias_method(:"#{name}_without_patch", name)
				define_method(name) { |*arguments, **options, &block| NOTE.call(name) { send(:"#{name}_without_patch", *arguments, **options, &block) } }
				private(name) if private_method
			end
		when "refine"
			Module.new { refine(owner) { define_method(name) { |*arguments, **options, &block| NOTE.call(name) { super(*arguments, **options, &block) } } } }
		end
	end
end

# Does nothing, or fails, or changes Sidekiq.
class PatchedJob
	include Sidekiq::Job

	def perform(way)
		Patch.call if way == "patch"
		raise ArgumentError, way if way == "raise"

		witness("#{jid[-1]} performed")
	end
end

Sidekiq.configure_server do |config|
	config.logger.level = PATCH["level"]
	case PATCH["moment"]
	when "boot" then Patch.call
	when "startup" then config.on(:startup) { Patch.call }
	end
end
