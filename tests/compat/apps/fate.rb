# frozen_string_literal: true

require "sidekiq"
require "zlib"

# The same jitter for the same job, whatever else draws lots in the process; and so much that no retry is due by itself.
def fate(...)
	1000 + Random.new(Zlib.crc32(Sidekiq::Context.current[:jid].to_s)).rand(...)
end

if ENV["DIFFERENTIAL_FATE"] == "below"
	# Where nobody can tell that Sidekiq's own classes are meant.
	module Kernel
		alias_method :chance, :rand

		def rand(...)
			Sidekiq::JobRetry === self ? fate(...) : chance(...)
		end
		private :rand, :chance
	end
else
	# As gems do it that change how jobs are retried.
	module Fate
		def global(...)
			Thread.current[:fate] = true
			super
		end

		private

		def rand(...)
			Thread.current[:fate] ? fate(...) : raise("global was not called")
		end
	end

	Sidekiq::JobRetry.prepend(Fate) if Sidekiq.server?
end
