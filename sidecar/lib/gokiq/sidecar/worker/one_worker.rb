# frozen_string_literal: true

require "async"
require "socket"

module Gokiq
	module Sidecar
		# What a gokiq process must do once, although it has several workers: schedulers, reapers, ports. Handlers of gems that
		# are known for it are told by their file; those of the application by what they do when they run.
		module OneWorker
			# A gem whose lifecycle handlers are for one worker: its name, where its handlers are written, whether what they start
			# has ended with `shutdown`, and what every worker needs of its `startup`.
			Gem = Struct.new(:name, :files, :ends, :everywhere)

			# Source: read in sidekiq-scheduler 6.0.2, sidekiq-cron 2.3.1, sidekiq-unique-jobs 8.1.0 and 9.0.0.alpha, sidekiq_alive 2.5.0.
			GEMS = [
				Gem.new("sidekiq-scheduler", %r{/lib/sidekiq-scheduler(\.rb|/)}, true),
				Gem.new("sidekiq-cron", %r{/lib/sidekiq/cron/}, true),
				Gem.new("sidekiq-unique-jobs", %r{/lib/sidekiq_unique_jobs(\.rb|/)}, true),
				# Its port is closed by `at_exit`. Its job has a queue of its own, which any worker may be given.
				Gem.new("sidekiq_alive", %r{/lib/sidekiq_alive(\.rb|/)}, false, lambda do |config|
					queue = ::SidekiqAlive.current_queue
					::SidekiqAlive::Worker.sidekiq_options(queue: queue)
					config.capsule(::SidekiqAlive::CAPSULE_NAME) do |capsule|
						capsule.concurrency = ::SidekiqAlive.config.concurrency
						capsule.queues = [queue]
					end
				end),
			].freeze

			# Ends a handler that has begun something which another worker does already.
			class Elsewhere < Exception # rubocop:disable Lint/InheritException
			end

			# @parameter handler [Proc]
			# @returns [Gem | Nil] Which has written it.
			def self.gem_of(handler)
				file = handler.source_location&.first.to_s
				GEMS.find { |gem| gem.files.match?(file) }
			end

			# @parameter config [Sidekiq::Config]
			# @returns [Array(Gem)] Those that have handlers here.
			def self.gems(config)
				config[:lifecycle_events].each_value.flat_map { |handlers| handlers.map { |handler| gem_of(handler) } }.compact.uniq
			end

			# Get ready before the fork: what every worker needs of such gems, and the places where we ask.
			# @parameter config [Sidekiq::Config]
			# @returns [String | Nil] What to tell the operator.
			def self.prepare(config)
				::TCPServer.prepend(Port)
				::UNIXServer.prepend(Path)
				::Socket.prepend(Bind)
				::Rufus::Scheduler.prepend(Scheduler) if defined?(::Rufus::Scheduler)
				gems = gems(config).each { |gem| gem.everywhere&.call(config) }
				"the lifecycle handlers of #{gems.map(&:name).join(", ")} run in one worker at a time; --events every runs them in each" if gems.any?
			end

			# Ask before something that is for one worker alone. Does nothing outside of `startup` handlers and their threads.
			# @parameter what [String]
			# @raises [Elsewhere] In a handler, if another worker leads. What it has started beside itself waits instead.
			def self.ask(what)
				Fiber[:gokiq_turn]&.ask(what)
			end

			# One worker's view of whether it leads.
			class Turn
				# Seconds for which a handler may go on after something that it has started began to wait. Then it is taken to wait
				# for that, and waits for its turn itself.
				PATIENCE_S = 5.0

				# @parameter patience_s [Float] As {PATIENCE_S}.
				# @yields {|what, handler| ...} In the leader, each time a handler, or what it has started, does what is for one worker.
				#   From any thread.
				def initialize(patience_s: PATIENCE_S, &told)
					@patience_s = patience_s
					@told = told
					@attempts = []
					@leads = false
				end

				# From now on.
				def lead
					@leads = true
					@attempts.each(&:go)
					@attempts.clear
				end

				# @parameter handler [Proc]
				# @returns [Boolean] Whether it ran to its end.
				def call(handler)
					attempt = Attempt.new(handler, @leads, @told)
					@attempts << attempt unless @leads
					before, Fiber[:gokiq_turn] = Fiber[:gokiq_turn], attempt
					guard = attend(attempt) unless @leads
					handler.call
					# It may have rescued everything.
					raise Elsewhere if attempt.refused?

					true
				rescue Elsewhere
					# It will begin once more, with all that it starts.
					@attempts.delete(attempt)
					attempt.give_up
					false
				ensure
					guard&.stop
					attempt.over
					Fiber[:gokiq_turn] = before
				end

				private

				def attend(attempt)
					return unless (scheduler = Fiber.scheduler)

					fiber = Fiber.current
					Async(transient: true, annotation: "gokiq turn") do
						attempt.asked.pop
						sleep(@patience_s)
						scheduler.raise(fiber, Elsewhere, "another worker does what it waits for")
					end
				end
			end

			# A handler that runs, or has, and what it has started.
			class Attempt
				# @parameter handler [Proc]
				# @parameter led [Boolean] Whether its worker leads.
				# @parameter told [Proc] As of {Turn}.
				def initialize(handler, led, told)
					@handler = handler
					@led = led
					@refused = false
					@told = told
					@fiber = Fiber.current
					@thread = Thread.current
					@asked = Thread::Queue.new
					@gate = Thread::Queue.new
				end

				# @attribute [Thread::Queue] Gets something when a part of it begins to wait.
				attr :asked

				# @returns [Boolean] Whether the handler has begun what another worker does.
				def refused?
					@refused
				end

				# See {OneWorker.ask}.
				def ask(what)
					wait(what) unless @led
					@told.call(what, @handler)
				end

				# Its worker leads.
				def go
					@led = true
					@gate.close
				end

				# It has ended before its end: what it has started must not go on.
				def give_up
					@gate.close
				end

				# The handler has ended; what it has started may go on.
				def over
					@fiber = nil
				end

				private

				def wait(what)
					if Fiber.current.equal?(@fiber)
						@refused = true
						raise Elsewhere, "another worker #{what}"
					end

					@asked << what
					@gate.pop
					vanish unless @led
				end

				# The reactor's thread cannot end: there a fiber waits for ever.
				def vanish
					Thread.current.equal?(@thread) ? Thread::Queue.new.pop : Thread.exit
				end
			end

			# A server with a port of its own choosing can be there once.
			module Port
				def initialize(*arguments)
					OneWorker.ask("opens a port") unless ["0", ""].include?(arguments.last.to_s)
					super
				end
			end

			# So can one with a path.
			module Path
				def initialize(path)
					OneWorker.ask("opens a socket")
					super
				end
			end

			# The same for servers that are made of plain sockets.
			module Bind
				def bind(address)
					OneWorker.ask("opens a port") if getsockopt(:SOCKET, :TYPE).int == ::Socket::SOCK_STREAM && !any_port?(address)
					super
				end

				private

				def any_port?(address)
					address = ::Addrinfo.new(address) unless ::Addrinfo === address
					address.ip? && address.ip_port.zero?
				end
			end

			# Of the rufus-scheduler gem.
			module Scheduler
				def initialize(...)
					OneWorker.ask("starts a scheduler")
					super
				end
			end
		end
	end
end
