# frozen_string_literal: true

module Gokiq
	module Sidecar
		# The running jobs of a worker that may not run for ever. The lanes write here, the watchdog's thread reads.
		#
		# A job that is late is asked to stop, then {JobTimeout} is raised in it; if that does not help either, the orchestrator
		# ends the worker. See `docs/protocol.md` section 7 for what it is told.
		class Deadlines
			# Seconds that a late job has to stop by itself: iterable jobs save their cursor.
			ASKED_S = 2.0

			# A job that is under a deadline, and how far it has been dealt with.
			Entry = Struct.new(:job, :at, :seconds, :asked, :raised)

			# @parameter default_s [Float | Nil] For jobs that say nothing.
			def initialize(default_s = nil)
				@default_s = default_s
				@entries = {}
			end

			# @returns [Boolean] Whether every job is under a deadline.
			def default?
				!@default_s.nil?
			end

			# A job starts.
			# @parameter job [Job]
			# @parameter job_hash [Object] The parsed payload.
			def start(job, job_hash)
				seconds = (Hash === job_hash && job_hash["gokiq_timeout"]) || @default_s
				return unless Numeric === seconds && seconds.positive?

				at = Deadlines.now + seconds
				# JSON has numbers beyond any Float, and cannot say what becomes of them.
				@entries[job.number] = Entry.new(job, at, seconds, false, false) if at.finite?
			end

			# A job is over. Unknown ones are ignored.
			def finish(job)
				@entries.delete(job.number) unless @entries.empty?
			end

			# @returns [Boolean] Whether any job is under a deadline.
			def any?
				!@entries.empty?
			end

			# Walk over the late jobs.
			# @yields {|entry, late_s| ...}
			def each_late(now = Deadlines.now)
				@entries.values.each { |entry| yield entry, now - entry.at if now >= entry.at }
			end

			# @returns [Array(Integer, Float) | Nil] Number and time of the job whose deadline is or was first.
			def first
				entry = @entries.values.min_by(&:at)
				entry && [entry.job.number, entry.at.round(3)]
			end

			# @returns [Float] Seconds of a clock that all processes of a machine share.
			def self.now
				Process.clock_gettime(Process::CLOCK_MONOTONIC)
			end
		end
	end
end
