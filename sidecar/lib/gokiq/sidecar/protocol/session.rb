# frozen_string_literal: true

require "async"
require "console"
require "json"
require "socket"

require_relative "body"
require_relative "../root/fork_guard"
require_relative "frame"
require_relative "../sidekiq/job"
require_relative "outbox"
require_relative "../worker/verdict"

module Gokiq
	module Sidecar
		# One connection to an orchestrator, from HELLO to its end. Reads frames and passes on what they ask for.
		class Session
			# Bytes asked of the socket at once.
			READ_BYTES = 262_144

			# Seconds that a peer has from HELLO to WELCOME: the worker serves nobody else meanwhile.
			WELCOME_S = 60

			# @parameter socket [UNIXSocket]
			# @parameter worker [Worker] Whose jobs these are.
			# @parameter patience_s [Numeric] For WELCOME.
			def initialize(socket, worker, patience_s: WELCOME_S)
				@socket = ForkGuard.own(socket)
				@worker = worker
				@patience_s = patience_s
				@outbox = Outbox.new(socket)
				@routes = nil
			end

			# @attribute [Outbox]
			attr :outbox

			# Speak until the peer has gone or the worker has left.
			def run
				return refuse_stranger unless own_peer?

				@outbox.start
				@outbox.push(Frame::HELLO, JSON.generate(hello = @worker.hello))
				@client = hello[:client]
				patience = Async(transient: true, annotation: "gokiq welcome") { end_unless_welcomed }
				reader = Frame::Reader.new(from: :orchestrator)

				while true
					reader.feed(@socket.readpartial(READ_BYTES)) { |type, body| handle(type, body) }
				end
			rescue ProtocolError => error
				@outbox.push(Frame::ERROR, JSON.generate(reason: error.message))
				@outbox.finish
			rescue SystemCallError, IOError
				# The peer is gone; the worker knows what to do.
			ensure
				patience&.stop
				@socket.close
			end

			# Say that due jobs are to be asked about from now on, if that is news to the orchestrator and it understands it.
			def announce_client
				return unless @reads_client && @client == "stock" && @worker.client == "app"

				@client = "app"
				@outbox.push(Frame::READY, [@worker.workload.credit, 1].pack("NC"))
			end

			# Say that no more jobs are wanted.
			def leave
				@outbox.push(Frame::DRAIN) if @routes
			end

			# Send everything and say that nothing more comes.
			def goodbye
				@outbox.push(Frame::GOODBYE)
				@outbox.finish
				@socket.close_write
			rescue SystemCallError, IOError
				# It has gone first.
			end

			private

			def own_peer?
				@peer = @socket.getsockopt(:SOCKET, :PEERCRED).unpack("iII")[1]
				@peer == Process.uid
			end

			def refuse_stranger
				Console.warn(self, "Refused a connection of user #{@peer}.")
			end

			def end_unless_welcomed
				sleep(@patience_s)
				return if @routes

				Console.warn(self, "A connection that has not said WELCOME within #{@patience_s} s is closed.")
				@socket.shutdown
			rescue SystemCallError
				# It has ended by itself.
			end

			def handle(type, body)
				case type
				when Frame::PLAIN then plain(body)
				when Frame::BATCH then batch(body)
				when Frame::WELCOME then welcome(Body.object("WELCOME", body))
				when Frame::INTERRUPT then Body.each_interrupt(body) { |number, hard| @worker.workload.interrupt(number, hard) }
				when Frame::QUIET then Body.empty("QUIET", body) || @worker.quiet
				when Frame::DRAIN then @worker.drain(Body.grace_s(body))
				when Frame::PROMOTE then @worker.promote(*Body.members(body)) { |answer| @outbox.push(Frame::PROMOTED, answer) }
				when Frame::FAIL then fail_job(*Body.failure(body))
				when Frame::BEAT then Body.empty("BEAT", body) || @worker.beat
				when Frame::PING then @outbox.push(Frame::PONG, Body.token(body))
				when Frame::ERROR then raise EOFError, Body.object("ERROR", body)["reason"]
				end
			end

			def welcome(message)
				raise ProtocolError.new(:sequence, "a second WELCOME") if @routes

				routes = message["routes"]
				Body.refuse("WELCOME", "no routes") unless routes.is_a?(Array)

				@routes = routes.map do |route|
					Body.refuse("WELCOME", "no route") unless route.is_a?(Hash) && route["queue"].is_a?(String)

					capsule = @worker.capsule(route["capsule"]) or Body.refuse("WELCOME", "unknown capsule #{route["capsule"]}")
					Route.new(capsule, route["queue"].freeze)
				end

				@reads_client = message["client"] == true
				@worker.greeted(self, message["identity"])
				@outbox.push(Frame::READY, [@worker.workload.credit].pack("N"))
			end

			def fail_job(number, index, kind, message, payload)
				raise ProtocolError.new(:sequence, "FAIL before WELCOME") unless @routes

				route = @routes[index] or Body.refuse("FAIL", "unknown route #{index}")
				workload = @worker.workload
				@worker.leaving? ? workload.refuse(number) : workload.take(Job.new(number, route, payload, Verdict.of(kind, message)))
			end

			def batch(body)
				raise ProtocolError.new(:sequence, "BATCH before WELCOME") unless @routes

				workload = @worker.workload

				Body.each_job(body) do |number, index, _flags, payload|
					route = @routes[index] or Body.refuse("BATCH", "unknown route #{index}")
					@worker.leaving? ? workload.refuse(number) : workload.take(Job.new(number, route, payload))
				end
			end

			def plain(body)
				raise ProtocolError.new(:sequence, "PLAIN before WELCOME") unless @routes

				workload = @worker.workload
				leaving = @worker.leaving?

				Body.each_plain(body) do |job, index|
					job.route = @routes[index] or Body.refuse("PLAIN", "unknown route #{index}")
					leaving ? workload.refuse(job.number) : workload.take(job)
				end
			end
		end
	end
end
