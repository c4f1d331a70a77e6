# frozen_string_literal: true

require_relative "../root/fork_guard"

module Gokiq
	module Sidecar
		# Signals of a worker, and what the application has hung on them while it was loaded.
		class Signals
			# What each means for a worker.
			ORDERS = {INT: "T", TERM: "T", TSTP: "Q", TTIN: "D"}.freeze

			# Run a block that may trap signals.
			# @returns [Hash(Symbol, Proc)] The handlers that it has left behind.
			def self.left_by
				before = current
				yield
				current.select { |name, handler| handler.respond_to?(:call) && !handler.equal?(before[name]) }
			end

			# Ruby tells a handler only to whom replaces it.
			def self.current
				ORDERS.to_h { |name, _| [name, Signal.trap(name, "DEFAULT").tap { |handler| Signal.trap(name, handler || "DEFAULT") }] }
			end
			private_class_method :current

			# @parameter handlers [Hash(Symbol, Proc)] The application's.
			def initialize(handlers)
				@handlers = handlers
				@reader, @writer = IO.pipe.each { |io| ForkGuard.own(io) }
				@called = {}
			end

			# From now on they are orders. Handlers only write a byte: the reactor decides.
			def trap
				ORDERS.each do |name, order|
					Signal.trap(name) do
						call(name) if name == :TTIN
						@writer.write_nonblock(order, exception: false)
					end
				end

				Signal.trap(:HUP, "IGNORE")
			end

			# Wait for orders.
			# @yields {|order| ...}
			def each
				while (order = @reader.readpartial(1))
					yield order
				end
			end

			# Call the application's handler, as Sidekiq does before it follows the signal: once, for what happens once.
			# @parameter name [Symbol]
			def call(name)
				return if name != :TTIN && @called[name]

				@called[name] = true
				@handlers[name]&.call(Signal.list[name.to_s])
			rescue Exception => error
				# As Sidekiq says it: a handler of a signal cannot use the logger.
				puts ["Error in #{name} handler", error].inspect
			end
		end
	end
end
