# frozen_string_literal: true

require "async"
require "logger"
require "stringio"

require "gokiq/sidecar/root/settings"
require "gokiq/sidecar/app/application"
require "gokiq/sidecar/protocol/body"
require "gokiq/sidecar/worker/state"
require "gokiq/sidecar/lanes/workload"

require_relative "peer"
require_relative "wait"
require_relative "wire"

# Runs jobs in the test's own process, in a real workload without a socket.
module Inline
	# Collects entries where the outbox would be.
	class Entries
		def initialize
			@entries = []
		end

		# Take an entry of RESULTS.
		def add(entry)
			@entries << entry
		end

		# Take the outcome of a job that ended well.
		def done(number, elapsed_us)
			add(Gokiq::Sidecar::Outcome.plain(number, 0, 1, elapsed_us))
		end

		# @returns [Array(Wire::Result)]
		def results
			Wire.results(@entries.join)
		end
	end

	# Of every test.
	def setup
		super
		@log = StringIO.new
		@trouble = []
		@deaths = []
		@config = Sidekiq::Config.new
		@config.logger = Sidekiq::Logger.new(@log, level: Logger::INFO)
		# Sidekiq's own lists are shared by every configuration of the process.
		@config[:error_handlers] = [->(error, context, _config = nil) { @trouble << [error, context] }]
		@config[:death_handlers] = [->(job, error) { @deaths << [job, error] }]
	end

	# @returns [Gokiq::Sidecar::Route]
	def route
		@route ||= Gokiq::Sidecar::Route.new(@config.default_capsule, "default")
	end

	# Run jobs until all of them are over.
	# @parameter payloads [Array(String | Gokiq::Sidecar::Job)] Their numbers are 1, 2, …
	# @yields {|workload| ...} While they run.
	# @returns [Array(Wire::Result)] In the order of the payloads.
	def work(*payloads, lane: :fiber, slots: 10, threads: 2, state: Gokiq::Sidecar::State.new)
		entries = Entries.new

		Sync do
			workload = Gokiq::Sidecar::Workload.new(Gokiq::Sidecar::Plan.new(lane: lane, slots: slots, threads: threads), state)
			workload.outbox = entries
			workload.start
			payloads.each_with_index do |payload, index|
				workload.take(Gokiq::Sidecar::Job === payload ? payload : Gokiq::Sidecar::Job.new(index + 1, route, payload))
			end
			yield workload if block_given?
			raise "jobs did not end" unless workload.wait(Wait::LIMIT_S)
		end

		entries.results.sort_by(&:number)
	end

	# @returns [Gokiq::Sidecar::PlainJob] As it comes out of a frame.
	def plain_job(payload, args: nil)
		jobs = []
		Gokiq::Sidecar::Body.each_plain(Wire.plain({1 => payload}, args: args)) { |job, _| jobs << job }
		jobs.each { |job| job.route = route }.fetch(0)
	end

	# Run one job.
	# @returns [Wire::Result]
	def run_job(name, *arguments, lane: :fiber, **fields)
		work(Peer.payload(name, *arguments, **fields), lane: lane).fetch(0)
	end

	# @returns [Array(String)] What error handlers were told about, one each time.
	def contexts
		@trouble.map { |_, context| context[:context] }
	end
end
