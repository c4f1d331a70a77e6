# frozen_string_literal: true

require "sidekiq/metrics/tracking"

require_relative "stock"

module Gokiq
	module Sidecar
		# Sidekiq's execution metrics, counted without a lock and a closure a job, and handed to Sidekiq's own tracker whenever
		# that one is about to write them. For the fibers of one reactor only.
		#
		# The rules are those of `Sidekiq::Metrics::ExecutionTracker#track`: every job counts, its time only where it has not
		# failed, in milliseconds as two readings of a millisecond clock differ.
		class Meter
			HISTOGRAM = ::Sidekiq::Metrics::Histogram
			BUCKETS = HISTOGRAM::BUCKET_INTERVALS
			# Jobs of less than so many milliseconds are in the first bucket.
			FIRST_MS = BUCKETS.first
			# Classes that are counted by a tally. A payload may name any: what is beyond is counted job by job, as Sidekiq does.
			MOST = 1000

			# What the jobs of one class came to since the last hand-over.
			class Tally
				def initialize
					@processed = @failed = @time_ms = @quick = 0
					@slow = Hash.new(0)
				end

				attr :processed, :failed, :time_ms, :quick, :slow

				# Begin anew.
				# @returns [Tally] What there was.
				def take
					dup.tap { initialize }
				end

				# A job ended well, or was interrupted.
				# @parameter started [Integer] Microseconds of the monotonic clock.
				# @parameter finished [Integer] The same.
				def done(started, finished)
					time_ms = finished / 1000 - started / 1000
					@processed += 1
					@time_ms += time_ms

					if time_ms < FIRST_MS
						@quick += 1
					else
						@slow[BUCKETS.index { |limit| time_ms < limit }] += 1
					end
				end

				# A job failed.
				def failed!
					@processed += 1
					@failed += 1
				end
			end

			# Counts the jobs of one class of too many, each at once.
			class Stray
				# @parameter meter [Meter]
				# @parameter name [String] Of the class.
				def initialize(meter, name)
					@meter = meter
					@name = name
				end

				# As {Tally#done}.
				def done(started, finished)
					@meter.count_one(@name) { |tally| tally.done(started, finished) }
				end

				# As {Tally#failed!}.
				def failed!
					@meter.count_one(@name, &:failed!)
				end
			end

			# Has the tallies join before Sidekiq writes what it has.
			module HandOver
				attr_writer :gokiq_meter

				def flush(...)
					@gokiq_meter.hand_over
					super
				end
			end

			# @parameter middleware [Sidekiq::Metrics::Middleware]
			# @returns [Meter | Nil] The one of its tracker; nil where the tracker is not as Sidekiq ships it.
			def self.for(middleware)
				tracker = middleware.instance_variable_get(:@exec)
				return unless stock?(tracker)

				tracker.instance_variable_get(:@gokiq_meter) || new(tracker)
			end

			def self.stock?(tracker)
				tracker.instance_of?(::Sidekiq::Metrics::ExecutionTracker) && Stock.plain?(tracker) && Stock.intact?(:metrics) &&
					%i[@jobs @totals @grams @lock].all? { |name| tracker.instance_variable_defined?(name) } &&
					HISTOGRAM.new("").buckets.first.instance_variable_get(:@value) == 0
			end
			private_class_method :stock?

			# @parameter tracker [Sidekiq::Metrics::ExecutionTracker]
			def initialize(tracker)
				@tracker = tracker
				@tallies = {}
				tracker.extend(HandOver)
				tracker.gokiq_meter = self
			end

			# @parameter name [String] Of the class, of Active Job the wrapped one.
			# @returns [Tally | Stray] Always the same tally; a stray for names beyond {MOST}.
			def [](name)
				@tallies[name] || (@tallies.size < MOST ? @tallies[name] = Tally.new : Stray.new(self, name))
			end

			# Give all tallies to the tracker.
			def hand_over
				lock { @tallies.each { |name, tally| add(name, tally.take) if tally.processed.positive? } }
			end

			# Give one job to the tracker.
			# @parameter name [String] Of its class.
			# @yields {|tally| ...} That it is to be counted in.
			def count_one(name)
				tally = Tally.new
				yield tally
				lock { add(name, tally) }
			end

			private

			def lock(&block)
				@tracker.instance_variable_get(:@lock).synchronize(&block)
			end

			# As in Sidekiq a key is there only if something was counted under it.
			def add(name, tally)
				jobs = @tracker.instance_variable_get(:@jobs)
				totals = @tracker.instance_variable_get(:@totals)
				count(jobs, totals, "#{name}|", "p", tally.processed)
				count(jobs, totals, "#{name}|", "f", tally.failed) if tally.failed.positive?
				return if tally.processed == tally.failed

				count(jobs, totals, "#{name}|", "ms", tally.time_ms)
				buckets = @tracker.instance_variable_get(:@grams)[name].buckets
				raise_bucket(buckets[0], tally.quick)
				tally.slow.each { |index, by| raise_bucket(buckets[index], by) }
			end

			def count(jobs, totals, prefix, kind, by)
				jobs[prefix + kind] += by
				totals[kind] += by
			end

			# Its own `increment` knows only one at a time.
			def raise_bucket(counter, by)
				counter.instance_variable_set(:@value, counter.value + by)
			end
		end
	end
end
