# frozen_string_literal: true

require "fileutils"

module Demo
	# What happened to which job, kept apart from Redis, so that it can bear witness about what Redis says.
	#
	# One append-only file per process, `<pid>.journal`, of lines `start|done|fail JID MONOTONIC_MS CLASS`.
	# A line is one write(2): it survives `kill -9` of the process, and lines of threads and fibers never mix.
	class Journal
		# @parameter folder [String] where the files go; made when it is missing.
		def initialize(folder)
			@folder = folder
			FileUtils.mkdir_p(folder)
			@pid = nil
			@file = nil
		end

		# Run the block between the lines that say that it started and how it ended.
		# A block that is left by any exception, `Sidekiq::Shutdown` included, or by a throw, ended in `fail`.
		# @parameter jid [String]
		# @parameter job_class [Class]
		# @returns [Object] what the block returns.
		def record(jid, job_class)
			write("start", jid, job_class)
			ended = "fail"
			begin
				result = yield
				ended = "done"
				result
			ensure
				write(ended, jid, job_class)
			end
		end

		# Whether this is the first time that it is asked about `jid`, in any process, restarts included.
		# @parameter jid [String]
		# @returns [bool]
		def first?(jid)
			File.open(File.join(@folder, "#{jid}.seen"), File::WRONLY | File::CREAT | File::EXCL).close
			true
		rescue Errno::EEXIST
			false
		end

		private

		def write(event, jid, job_class)
			line = "#{event} #{jid} #{now_ms} #{job_class}\n"
			# A blocking fiber: no other job may run between the clock and the line.
			Fiber.blocking { file.syswrite(line) }
		end

		def now_ms
			Process.clock_gettime(Process::CLOCK_MONOTONIC, :float_millisecond).round(3)
		end

		# A forked process opens a file of its own.
		def file
			return @file if @pid == Process.pid

			# In this order: another thread that finds the new pid must find the new file, too. Two that open it
			# at once do no harm, both append.
			@file = File.open(File.join(@folder, "#{Process.pid}.journal"), File::WRONLY | File::CREAT | File::APPEND)
			@pid = Process.pid
			@file
		end
	end
end
