# frozen_string_literal: true

# Waiting for conditions, never for time alone.
module Wait
	# Seconds that anything may take.
	LIMIT_S = 10.0

	# @returns [Float] Seconds of the monotonic clock.
	def self.now
		Process.clock_gettime(Process::CLOCK_MONOTONIC)
	end

	# @yields {...} Asked until it answers something true.
	# @returns [Object] That answer.
	def self.for(what, seconds = LIMIT_S)
		deadline = now + seconds

		until (answer = yield)
			raise "waited #{seconds} s for #{what}" if now > deadline

			sleep(0.005)
		end

		answer
	end
end
