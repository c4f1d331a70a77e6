# frozen_string_literal: true

require "sidekiq"

# Appends a line where the test reads it.
def note(text)
	File.write(ENV.fetch("GOKIQ_NOTES"), "#{text}\n", mode: "a")
end

Sidekiq.configure_server do |config|
	config.logger = Sidekiq::Logger.new("#{ENV.fetch("GOKIQ_SOCKET")}.log")
	config.on(:startup) { note("leader pid=#{Process.pid}") }
end

# Has a child that sleeps.
class ForkJob
	include Sidekiq::Job

	def perform(seconds)
		pid = fork do
			sleep(seconds)
			note("child is over")
		end
		note("child #{pid}")
		Process.wait(pid)
		note("parent is over")
	end
end

# Has a child that goes on as the job.
class LostForkJob
	include Sidekiq::Job

	def perform
		pid = fork
		note("child #{pid}") if pid
	end
end

# Starts a program.
class SpawnJob
	include Sidekiq::Job

	def perform(seconds)
		pid = spawn("sleep", seconds.to_s)
		note("child #{pid}")
		Process.wait(pid)
	end
end

# Waits, as plain jobs do.
class PlainJob
	include Sidekiq::Job

	def perform(text, seconds)
		sleep(seconds)
		note(text)
	end
end

# Starts programs in another Ractor, and by methods that somebody has wrapped since the worker began.
class WrappedSpawnJob
	include Sidekiq::Job

	# The old way to wrap a method.
	module Wrap
		# @parameter owner [Module]
		# @parameter name [Symbol]
		def self.call(owner, name)
			owner.class_eval do
				alias_method :plain_one, name
				define_method(name) { |*arguments, **options, &block| plain_one(*arguments, **options, &block) }
			end
		end
	end

	def perform
		Warning[:experimental] = false
		ractor = Ractor.new { [`echo a`, system("true"), Process.wait(spawn("true")).class, IO.popen("echo b", &:read)].join(" ") }
		note("ractor #{(ractor.respond_to?(:value) ? ractor.value : ractor.take).delete("\n")}")
		[[Process.singleton_class, :spawn], [IO.singleton_class, :popen], [Kernel, :system]].each { |place| Wrap.call(*place) }
		pid = Process.spawn("true")
		note("wrapped #{Process.wait(pid) == pid} #{IO.popen(%w[echo c], "r", err: File::NULL, &:read).chomp} #{system({"A" => "1"}, "exit $A", out: File::NULL)}")
	end
end

# Has a child that has a child, which is to be as Ruby makes it.
class NestedForkJob
	include Sidekiq::Job

	def perform
		pid = fork do
			trap(:TERM) { exit!(7) }
			reader, writer = IO.pipe
			grandchild = fork { writer.write("!") && sleep(60) }
			reader.read(1)
			Process.kill(:TERM, grandchild)
			note("grandchild #{Process.wait2(grandchild)[1].exitstatus.inspect}")
		end
		note("child #{pid}")
		Process.wait(pid)
	end
end

# Becomes a daemon, and so ends its worker.
class DaemonJob
	include Sidekiq::Job

	def perform
		Process.daemon(true, true)
		note("child #{Process.pid}")
		sleep(60)
	end
end
