# frozen_string_literal: true

require_relative "../root/fork_guard"

module Gokiq
	module Sidecar
		# One worker of all that share a file, at any time. The lock ends with its process, however that ends, and with this
		# object: whoever leads has to keep it.
		class Leader
			# @parameter path [String] Of the lock's file, made if it is missing.
			def initialize(path)
				# A child of a job must not keep the lock when we are gone.
				@file = ForkGuard.own(File.open(path, File::RDWR | File::CREAT, 0o600))
			end

			# @returns [Boolean] Whether we are the one, until our end or {release}.
			def take
				@file.flock(File::LOCK_EX | File::LOCK_NB) == 0
			end

			# Wait until we are the one, without holding up the reactor.
			def wait
				Thread.new { @file.flock(File::LOCK_EX) }.join
			end

			# Let another one lead.
			def release
				@file.flock(File::LOCK_UN)
			end
		end
	end
end
