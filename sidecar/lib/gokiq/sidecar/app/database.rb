# frozen_string_literal: true

module Gokiq
	module Sidecar
		# Says whether one more job may start, in a worker that runs more jobs at once than Active Record has connections.
		#
		# With fewer jobs running than the smallest pool has connections, always. Beyond that only while each pool has a
		# connection left and the limit is not reached. The limit is learned: it is cut to the jobs that do not wait when some
		# are found waiting for a connection, and grows by one pool's size a look while nobody waits.
		class Database
			# Seconds between two looks while jobs are held back.
			LOOK_S = 0.05

			# @parameter slots [Integer] Jobs at once in this worker.
			# @returns [Database | Nil] Nil without Active Record, and where there is a connection for every job.
			def self.for(slots)
				return unless defined?(::ActiveRecord::Base)

				size = narrow(slots).map(&:size).min
				new(slots, size) { narrow(slots).map(&:stat) } if size
			end

			# @returns [Array(ActiveRecord::ConnectionAdapters::ConnectionPool)] Those with fewer connections than slots. One
			#   without a size has no limit.
			def self.narrow(slots, pools = ::ActiveRecord::Base.connection_handler.connection_pool_list(:all))
				pools.select { |pool| pool.size && pool.size < slots }
			end

			# Seconds that the database has to tell its limit.
			TELL_S = 2.0

			# @parameter slots [Integer] Jobs at once in one worker.
			# @returns [Hash | Nil] How many connections one worker may open to the primary database, and how many that has for
			#   jobs and all others. Nil without Active Record and PostgreSQL, or when it does not answer.
			def self.capacity(slots)
				return unless defined?(::ActiveRecord::Base) && ::ActiveRecord::Base.connection_handler.connection_pool_list(:all).any?

				pool = ::ActiveRecord::Base.connection_pool
				return unless /\A(postgres|postgis)/.match?(pool.db_config.adapter.to_s)

				asking = Thread.new { ask(pool) }
				asking.report_on_exception = false
				most = asking.join(TELL_S)&.value
				{connections: [pool.size, slots].compact.min, max_connections: most} if most
			rescue StandardError
				# The application finds out what is wrong with its database.
				nil
			ensure
				asking&.kill
			end

			def self.ask(pool)
				pool.with_connection do |connection|
					%w[max_connections superuser_reserved_connections].map { |name| Integer(connection.select_value("SHOW #{name}")) }.reduce(:-)
				end
			end
			private_class_method :ask

			# @parameter slots [Integer] Jobs at once in this worker.
			# @parameter size [Integer] Connections of the smallest pool.
			# @yields {...} What `stat` of each pool with fewer connections than slots says.
			def initialize(slots, size, &stats)
				@slots = slots
				@stats = stats
				@size = [size, 1].max
				@limit = @size
			end

			# @returns [String] What an operator can do about it.
			def advice
				"database.yml gives #{@size} connections to each process, a worker runs #{@slots} jobs at once: " \
					"jobs wait for a connection before they start; set pool to #{@slots}, or lower the concurrency"
			end

			# @returns [Integer] Jobs that the worker has use for: those that may run, and as many at hand as there are connections.
			def window
				[@limit + @size, @slots].min
			end

			# @parameter running [Integer] Jobs that run.
			# @returns [Boolean] Whether one more may start.
			def admit?(running)
				return true if running < @size

				left = connections_left
				@limit = [running + left, @size].max if left.negative?
				left.positive? && running < @limit
			end

			# Jobs are held back. If it is the limit that holds them, let it grow.
			# @parameter running [Integer] Jobs that run.
			def look(running)
				@limit = [@limit + @size, @slots].min if running >= @limit && connections_left.positive?
			end

			# Be told of each connection that a fiber of the current thread gives back.
			# @yields {...} In the middle of it: not to wait for anything.
			def on_release
				thread = Thread.current
				::ActiveRecord::ConnectionAdapters::AbstractAdapter.set_callback(:checkin, :after) { yield if Thread.current == thread }
			end

			# @parameter held [Integer] Jobs that have not started, for want of a connection.
			# @returns [Hash] What an operator wants to know of the scarcest pool: `size`, `used`, `waiting`.
			def figures(held)
				stat = @stats.call.min_by { |one| left_in(one) }
				return {size: @size, used: 0, waiting: held} unless stat

				{size: stat[:size], used: stat[:connections] - stat[:idle], waiting: stat[:waiting] + held}
			end

			private

			# Of the scarcest pool; less than none when fibers wait for one.
			def connections_left
				@stats.call.map { |stat| left_in(stat) }.min || @slots
			end

			def left_in(stat)
				stat[:size] - stat[:connections] + stat[:idle] - stat[:waiting]
			end
		end
	end
end
