# frozen_string_literal: true

module Gokiq
	module Sidecar
		# A process that a job forks is no worker. What belongs to the worker is closed in it at once: as long as it had the
		# connection or the pipe to the root, nobody would learn of the worker's death; with the listening socket it would
		# keep a new root from binding; with the reactor it would go on with the other jobs.
		#
		# Children that are spawned get none of it: Ruby closes all of it when a program is executed.
		module ForkGuard
			# Called by Ruby for every fork but those of C code.
			module Hook
				# @returns [Integer] 0 in the child.
				def _fork
					ForkGuard.prepare
					pid = super
					ForkGuard.leave if pid.zero?
					pid
				end

				# It forks and ends the parent, without the call above.
				def daemon(...)
					ForkGuard.prepare
					super.tap { ForkGuard.leave }
				end
			end

			# What starts a program: Ruby does not tell of it as of a fork.
			STARTERS = {
				Kernel => %i[system spawn exec `], Kernel.singleton_class => %i[system spawn exec `],
				Process.singleton_class => %i[spawn exec], IO.singleton_class => %i[popen],
			}.freeze

			# Signals that the worker has handlers for.
			SIGNALS = %i[INT TERM TSTP TTIN HUP].freeze

			@own = []
			@before = []
			@handlers = []
			@left = false

			class << self
				# From here on this process is a worker.
				def install
					return if Process.singleton_class.include?(Hook)

					Process.singleton_class.prepend(Hook)
					STARTERS.each { |owner, names| names.each { |name| prepare_before(owner, name) } }
				end

				# Close it in children.
				# @parameter io [IO]
				# @returns [IO] The same.
				def own(io)
					@own.reject!(&:closed?)
					@own << io
					io
				end

				# Call it before each fork.
				def before_fork(&block)
					@before << block
				end

				# A child is about to be made. Other Ractors see nothing of ours, and run no jobs.
				def prepare
					@before.each(&:call) if Ractor.current.equal?(Ractor.main)
				end

				# Call it in children.
				def on_fork(&block)
					@handlers << block
				end

				# We are the child. What a child of ours has is its own.
				def leave
					return if @left

					@left = true
					leave_reactor
					# The parent has them open, too: locks and connections stay as they are.
					@own.each(&:close)
					@own.clear
					# Not Ruby's own default: it raises what the reactor has masked for good.
					SIGNALS.each { |name| Signal.trap(name, "SYSTEM_DEFAULT") }
					@handlers.each(&:call)
				end

				private

				# In the place of the method, not before it: code that is loaded later may give the old one another name, and would
				# go round in circles. Of text, not of a block, which another Ractor could not call.
				def prepare_before(owner, name)
					original = "gokiq_#{name == :` ? "backquote" : name}"
					method = owner.instance_method(name)
					method = method.super_method while method && method.owner != owner
					return unless method

					visible = owner.private_method_defined?(name) ? "private" : "public"
					owner.define_method(original, method)
					owner.class_eval(<<~RUBY, __FILE__, __LINE__ + 1)
						private :#{original}
						#{visible} def #{name}(...)
							::Gokiq::Sidecar::ForkGuard.prepare
							#{original}(...)
						end
					RUBY
				end

				# It would run the fibers of the other jobs, and read what is the parent's.
				def leave_reactor
					Fiber.current.async_task = nil if Fiber.current.respond_to?(:async_task=)
					scheduler = Fiber.scheduler or return

					scheduler.define_singleton_method(:scheduler_close) { |*| }
					Fiber.set_scheduler(nil)
				end
			end
		end
	end
end
