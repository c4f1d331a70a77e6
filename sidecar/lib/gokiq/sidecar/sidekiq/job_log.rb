# frozen_string_literal: true

require "sidekiq/logger"

require_relative "stock"

module Gokiq
	module Sidecar
		# Writes the `start` and `done` lines of plain jobs as Sidekiq's job logger would, many with one write. They come out
		# before anything else that is logged to the same place or written to the process's output, before their fiber waits or
		# the process starts another one, and within half a second where a job computes; so their order and their times are those
		# of single writes. What can still tell: a job that opens the file of the log itself, and one that kills its process by a
		# signal that cannot be caught, before it waits for anything.
		#
		# The form of a line is learned from the application's formatter, of which only Sidekiq's own texts are known well enough.
		class JobLog
			TEXTS = %i[Pretty Plain WithoutTimestamp].filter_map do |name|
				::Sidekiq::Logger::Formatters.const_get(name) if ::Sidekiq::Logger::Formatters.const_defined?(name)
			end.freeze

			# About how many bytes are written at once.
			CUT_BYTES = 65_536

			# Has the lines come out before others.
			module First
				attr_writer :gokiq_job_log

				def write(message)
					@gokiq_job_log.flush
					super
				end
			end

			# The same of a stream that has the log's lines too: what jobs print stands between their lines.
			module Before
				%i[write syswrite write_nonblock].each do |name|
					define_method(name) do |*arguments, **options|
						JobLog.flush
						super(*arguments, **options)
					end
				end
			end

			@all = {}.compare_by_identity
			@lock = Mutex.new

			class << self
				# @parameter logger [Logger]
				# @returns [JobLog | Nil] Its own; nil where its lines may be anything.
				def for(logger)
					return unless stock?(logger)

					device = logger.instance_variable_get(:@logdev)
					[$stdout, $stderr, STDOUT, STDERR, device.dev].each { |stream| stream.extend(Before) unless Before === stream }
					log = @all[device] ||= new(logger)
					log.tap { log.follow(logger) unless log.for?(logger) }
				end

				# @attribute [Proc | Nil] Called when there is something to {flush} again.
				attr_accessor :on_first

				# In a forked process: what has gathered is the parent's to write.
				def forget
					@all.each_value(&:forget)
				end

				# Write what has gathered. From any thread.
				# @returns [Boolean] Whether there was something.
				def flush
					@all.each_value.count(&:flush).positive?
				end

				# @returns [Boolean] Whether this is the handler of a signal: there no lock can be had.
				def in_handler?
					@lock.synchronize { false }
				rescue ThreadError
					true
				end

				private

				def stock?(logger)
					logger.instance_of?(::Sidekiq::Logger) && Stock.intact?(:logger) && TEXTS.include?(logger.formatter.class) &&
						(device = logger.instance_variable_get(:@logdev)).instance_of?(::Logger::LogDevice) &&
						[logger, logger.formatter, device].all? { |object| Stock.plain?(object) }
				end
			end

			# @parameter logger [Sidekiq::Logger]
			def initialize(logger)
				device = logger.instance_variable_get(:@logdev)
				@write = device.method(:write)
				@buffer = +""
				@second = @millisecond = nil
				device.extend(First)
				device.gokiq_job_log = self
				follow(logger)
			end

			# Learn the form of the lines.
			def follow(logger)
				@formatter = logger.formatter
				@before_time, @before_tid, @before_context, @before_message = form(@formatter)
			end

			# @returns [Boolean] Whether the lines are as the logger's formatter would write them now.
			def for?(logger)
				@formatter.equal?(logger.formatter)
			end

			# A job starts.
			# @parameter tid [String] Of its slot.
			# @parameter context [String] As the formatter writes it.
			def start(tid, context)
				write(tid, context, "start")
			end

			# A job has ended well.
			# @parameter elapsed_us [Integer]
			def done(tid, context, elapsed_us)
				write(tid, "#{context} elapsed=#{(elapsed_us / 1e6).round(3)}", "done")
			end

			# Throw away what has gathered.
			def forget
				@buffer.clear
			end

			# Write what has gathered. From any thread: what it takes is taken in one step. In the handler of a signal nothing is
			# written, as no logger can.
			# @returns [Boolean] Whether there was something.
			def flush
				return false if @buffer.empty? || JobLog.in_handler?

				@write.call(@buffer.slice!(0, @buffer.length))
				true
			end

			private

			def write(tid, context, message)
				JobLog.on_first&.call if @buffer.empty?
				@buffer << "#{@before_time}#{stamp}#{@before_tid}#{tid}#{@before_context}#{context}#{@before_message}#{message}\n"
				flush if @buffer.bytesize > CUT_BYTES
			end

			# What stands before the time, the tid, the context and the message.
			def form(formatter)
				time = Time.at(0)
				tid, context = Thread.current["sidekiq_tid"], Thread.current[:sidekiq_context]
				Thread.current["sidekiq_tid"], Thread.current[:sidekiq_context] = "\u0001", {x: "y"}
				line = formatter.call("INFO", time, nil, "\u0002")
				@timed = line.include?(time.utc.iso8601(3))
				before_time, rest = @timed ? line.split(time.utc.iso8601(3), 2) : ["", line]
				before_tid, rest = rest.split("\u0001", 2)
				before_context, rest = rest.split("x=y", 2)
				[before_time, before_tid, before_context, rest.split("\u0002", 2).first]
			ensure
				Thread.current["sidekiq_tid"], Thread.current[:sidekiq_context] = tid, context
			end

			def stamp
				return unless @timed

				now = Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
				return @stamp if now == @millisecond

				second, thousandths = now.divmod(1000)

				unless second == @second
					@second = second
					@second_text = Time.at(second).utc.strftime("%Y-%m-%dT%H:%M:%S.")
				end

				@millisecond = now
				@stamp = "#{@second_text}#{thousandths.to_s.rjust(3, "0")}Z"
			end
		end
	end
end
