# frozen_string_literal: true

require "sidekiq"

# Jobs for tests in one process.
module InlineJobs
	# Calls what the test has put there.
	class Call
		include Sidekiq::Job

		class << self
			attr_accessor :body
		end

		def perform(*arguments)
			instance_exec(*arguments, &self.class.body)
		end
	end

	class Raise
		include Sidekiq::Job

		def perform(message = "boom")
			raise ArgumentError, message
		end
	end

	class Never < Raise
		sidekiq_options retry: false
	end

	class Undecided < Raise
		sidekiq_retry_in { |count, _error, _job| 100 + count }
	end

	class Kill < Raise
		sidekiq_retry_in { :kill }
	end

	class Discard < Raise
		sidekiq_retry_in { :discard }
	end

	class BadRetryIn < Raise
		sidekiq_retry_in { raise "no idea" }
	end

	class Exhausted < Raise
		class << self
			attr_accessor :seen
		end

		sidekiq_retries_exhausted { |job, error| self.seen = [job["jid"], error.message] }
	end

	class Constructor
		include Sidekiq::Job

		def initialize
			raise "not today"
		end
	end

	class Plain
		include Sidekiq::Job

		def perform(*)
		end
	end

	class BadMessage < StandardError
		def message
			raise "no message either"
		end
	end
end
