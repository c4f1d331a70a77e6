# frozen_string_literal: true

require "json"
require "socket"
require "tmpdir"
require "fileutils"

require_relative "peer"
require_relative "wait"

# A sidecar in processes of its own, in a folder of its own. Has to be ended with {finish}.
class Root
	PROGRAM = File.expand_path("../../bin/gokiq-sidecar", __dir__)
	LIBRARY = File.expand_path("../../lib", __dir__)
	APP = File.expand_path("plain_app.rb", __dir__)

	# @parameter app [String] Path of the application.
	# @parameter env [Hash] More variables.
	# @parameter before [Proc] Called with the path of the socket, before the start.
	def initialize(app: APP, workers: 1, env: {}, before: nil)
		@folder = Dir.mktmpdir("gokiq")
		@peers = []
		@events = []
		@workers = []
		@news = Socket.new(:UNIX, :DGRAM)
		@news.bind(Socket.sockaddr_un(File.join(@folder, "monitor")))
		before&.call(socket_path)
		@pid = spawn(app, workers, env)
	end

	# @attribute [Integer] The root's process.
	attr :pid

	# @returns [String] Where the sidecar listens.
	def socket_path
		File.join(@folder, "socket")
	end

	# Wait until the application is loaded.
	# @returns [Root] Itself.
	def booted
		raise "the sidecar did not boot: #{log}" unless event("booted") || exited?

		self
	end

	# @returns [Peer] A connection, which may have to wait for a worker.
	def connect
		@peers << Peer.new(socket_path)
		@peers.last
	end

	# @returns [Peer] A connection that is ready for jobs.
	def greet(*queues)
		connect.tap { |peer| peer.greet(*queues) }
	end

	# Wait for a datagram.
	# @yields {|event| ...} Whether it is the one; any of the kind without a block.
	# @returns [Hash]
	def event(kind, seconds = Wait::LIMIT_S)
		Wait.for("the datagram #{kind} among #{@events.last(3)}; #{log}", seconds) do
			gather
			@events.find { |event| event["event"] == kind && (!block_given? || yield(event)) }
		end
	end

	# @returns [Array(String)] What jobs have noted.
	def notes
		File.exist?(notes_path) ? File.readlines(notes_path, chomp: true) : []
	end

	# Wait for a note.
	# @returns [String]
	def note(pattern, seconds = Wait::LIMIT_S)
		Wait.for("the note #{pattern.inspect}", seconds) { notes.find { |line| pattern === line } }
	end

	# Wait for the end of the root.
	# @returns [Integer | Nil] Its exit status; nil if a signal has ended it.
	def await_exit(seconds = Wait::LIMIT_S)
		Wait.for("the root's end; #{log}", seconds) { exited? }
		@status.exitstatus
	end

	# @returns [Array(Integer)] The workers' processes.
	def workers
		File.read("/proc/#{@pid}/task/#{@pid}/children").split.map { |pid| Integer(pid) }
	rescue SystemCallError
		[]
	end

	# @returns [String] What the processes have written.
	def log
		File.read(File.join(@folder, "log")).lines.last(40).join
	rescue SystemCallError
		""
	end

	# End every process and remove the folder.
	def finish
		pids = exited? ? @workers : @workers | workers
		@peers.each(&:close)
		end_process(@pid) unless exited?
		pids.each { |pid| end_process(pid) if worker?(pid) }
		Wait.for("the root's end") { exited? }
	ensure
		@news.close
		FileUtils.rm_rf(@folder)
	end

	# @returns [Boolean] Whether a process is still there, and no zombie.
	def self.alive?(pid)
		!File.read("/proc/#{pid}/stat").match?(/\) [ZX] /)
	rescue SystemCallError
		false
	end

	private

	def spawn(app, workers, env)
		variables = {
			"GOKIQ_SOCKET" => socket_path, "GOKIQ_MONITOR" => File.join(@folder, "monitor"), "GOKIQ_WORKERS" => workers.to_s,
			"GOKIQ_SIDEKIQ_ARGS" => JSON.generate(["-r", app]), "GOKIQ_PARENT_PID" => Process.pid.to_s,
			"GOKIQ_NOTES" => notes_path, "REDIS_URL" => "unix://#{@folder}/no-redis", "CONSOLE_LEVEL" => "warn", "GOKIQ_SLOTS" => "50",
			"MINITEST_COUNTS" => nil, **env,
		}
		Process.spawn(variables, ENV.fetch("GOKIQ_RUBY", RbConfig.ruby), "-I", LIBRARY, PROGRAM, in: File::NULL, %i[out err] => File.join(@folder, "log"))
	end

	def notes_path
		File.join(@folder, "notes")
	end

	def exited?
		@status ||= Process.wait2(@pid, Process::WNOHANG)&.last
	end

	def gather
		while (text = @news.recv_nonblock(8_192, exception: false)).is_a?(String)
			event = JSON.parse(text)
			@workers |= [event["pid"]] if event["pid"] != @pid
			@events << event
		end
	end

	# A number may have been given to another process since.
	def worker?(pid)
		File.binread("/proc/#{pid}/environ").include?(socket_path)
	rescue SystemCallError
		false
	end

	def end_process(pid)
		Process.kill(:KILL, pid)
	rescue Errno::ESRCH
		nil
	end
end
