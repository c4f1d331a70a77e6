# frozen_string_literal: true

require "sidekiq/client"
require "sidekiq/component"

require_relative "stock"

module Gokiq
	module Sidecar
		# Pushes due jobs with the application's own Sidekiq client, as Sidekiq's poller does, and says where each would have
		# gone instead of writing it.
		class Promoter
			include ::Sidekiq::Component

			DROPPED = 0
			ENQUEUED = 1
			SCHEDULED = 2
			KEPT = 3
			MALFORMED = 4

			# Where a job goes, as in PROMOTED: `text` is the payload, or what was wrong with it.
			Push = Struct.new(:kind, :score, :queue, :text)

			# The default options of a job, as Sidekiq ships them.
			DEFAULTS = {"retry" => true, "queue" => "default"}.freeze

			# @parameter config [Sidekiq::Config]
			# @returns [Boolean] Whether Sidekiq's client only fills in what every job has.
			def self.stock?(config)
				config.client_middleware.entries.empty? && ::Sidekiq.default_job_options == DEFAULTS && Stock.client?
			end

			# @parameter config [Sidekiq::Config]
			def initialize(config)
				@config = config
				@client = Client.new(config: config)
			end

			# @attribute [Sidekiq::Config]
			attr :config

			# @parameter member [String] Of the retry or the schedule set.
			# @returns [Push]
			def call(member)
				item = begin
					::Sidekiq.load_json(member).tap { |parsed| @client.validate(parsed) }
				rescue StandardError => error
					return Push.new(MALFORMED, 0.0, "", one_line(error))
				end

				begin
					@client.judge(item)
				rescue Exception => error
					handle_exception(error, {context: "Client middleware raised an exception for a due job", job: item, jobstr: member})
					Push.new(KEPT, 0.0, "", one_line(error))
				end
			end

			private

			def one_line(error)
				"#{error.class}: #{error.message}".scrub.lines.first.to_s.strip.slice(0, 300)
			end

			# Sidekiq's client, writing to a tape.
			class Client < ::Sidekiq::Client
				# @parameter item [Hash] A valid job.
				# @returns [Push]
				def judge(item)
					# Middleware may wait, and another job be judged meanwhile.
					dup.record(item)
				end

				protected

				def record(item)
					@tape = Tape.new
					push(item)
					@tape.push
				end

				private

				# Whatever is around Sidekiq's own method is called; what it writes goes to the tape. Middleware has had the real pool.
				def raw_push(payloads)
					pool = @redis_pool
					@redis_pool = @tape
					super
				ensure
					@redis_pool = pool
				end
			end

			# Stands where Sidekiq's client expects a pool, a connection and a pipeline, and remembers the one job that is written
			# there.
			class Tape
				def initialize
					@push = Push.new(DROPPED, 0.0, "", "")
				end

				# @attribute [Push] Dropped, unless something was written.
				attr :push

				# @yields {|connection| ...} Itself.
				def with
					yield self
				end

				# @yields {|pipeline| ...} Itself.
				def pipelined
					yield self
				end

				# `[score, payload]` in Sidekiq 7 and 8.
				def zadd(_set, pair)
					score, payload = pair.flatten
					@push = Push.new(SCHEDULED, Float(score), "", payload)
				end

				# The orchestrator keeps the set of queues.
				def sadd(*)
				end

				# `[payload]` in Sidekiq 7 and 8.
				def lpush(key, payloads)
					@push = Push.new(ENQUEUED, 0.0, key.delete_prefix("queue:"), payloads.first)
				end
			end
		end
	end
end
