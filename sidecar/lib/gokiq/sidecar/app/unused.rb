# frozen_string_literal: true

require "sidekiq"

module Gokiq
	module Sidecar
		# What the application has put in place of parts of Sidekiq that do not run here, and what that means for it. An
		# operator must not find out by missing it. What protects jobs is {Unobeyed}'s.
		module Unused
			# @parameter config [Sidekiq::Config]
			# @parameter threads [Array(Thread)] That run beside the main one.
			# @returns [Array(String)] One line for each.
			def self.of(config, threads: Thread.list - [Thread.main])
				[enqueuing(config), forked(threads), paid].flatten.compact
			end

			def self.enqueuing(config)
				return unless (other = config[:scheduled_enq])

				"scheduled_enq #{other} is not used: gokiq moves due jobs itself, through the app's client middleware"
			end
			private_class_method :enqueuing

			# A thread is no part of a fork. Those that start themselves again after one are left out.
			RESTARTED = %r{/timeout\.rb|/active_record/|/connection_pool|/concurrent/|/lib/async/|/lib/gokiq/sidecar/}

			def self.forked(threads)
				places = threads.map { |thread| thread.inspect[/(\/\S+:\d+)/, 1].to_s }
				lost = places.grep_v(RESTARTED)
				return if lost.empty?

				"#{lost.size} threads that were started while the app was loaded go on in the root alone, which runs no jobs; they are not in " \
					"the workers that are forked from it (#{lost.first(3).join(", ")}); start them in config.on(:startup)"
			end
			private_class_method :forked

			# @returns [Array(Integer)] The ports that this process listens on.
			def self.ports
				ObjectSpace.each_object(::BasicSocket).filter_map do |socket|
					next if socket.closed? || !socket.getsockopt(:SOCKET, :ACCEPTCONN).bool

					address = socket.local_address
					address.ip_port if address.ip?
				rescue SystemCallError
					nil
				end.uniq
			end

			# A port that the root answers has nothing to tell of jobs.
			# @parameter ports [Array(Integer)] That were opened while the application was loaded.
			# @returns [String | Nil]
			def self.opened(ports)
				return if ports.empty?

				"port #{ports.join(", ")} was opened while the app was loaded: the root answers there, which runs no jobs, so figures of jobs stay " \
					"at zero; open it in config.on(:startup), or use --health"
			end

			# Their jobs, middleware and sets work as far as they are made of Sidekiq's own parts.
			def self.paid
				%w[Pro Enterprise].filter_map do |edition|
					"Sidekiq #{edition} is loaded: what it changes in the server process (super_fetch, leader election, periodic jobs, rolling restarts) does not run here" if ::Sidekiq.const_defined?(edition, false)
				end
			end
			private_class_method :paid
		end
	end
end
