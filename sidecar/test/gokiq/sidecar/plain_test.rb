# frozen_string_literal: true

require "minitest/autorun"
require "tempfile"
require "tmpdir"
require "support/inline"
require "support/inline_jobs"

require "gokiq/sidecar/root/fork_guard"

# What an application may do to Sidekiq holds for plain jobs, too.
class PlainTest < Minitest::Test
	include Inline

	class Threaded
		include Sidekiq::Job
		sidekiq_options gokiq_lane: "thread"

		def perform(*)
		end
	end

	def setup
		super
		@config.logger.formatter = Sidekiq::Logger::Formatters::Pretty.new
		use_stock_chain
	end

	def test_a_done_line_has_what_the_job_has_added_to_the_context
		InlineJobs::Call.body = -> { Sidekiq::Context.add(:tenant, 5) }
		work(plain_job(Peer.payload("InlineJobs::Call")))

		assert_match(/ tenant=5 elapsed=\S+:? .*done$/, @log.string.lines.last)
	end

	def test_logged_job_attributes_that_a_plain_job_has
		skip "from Sidekiq 8 on" unless Sidekiq::VERSION >= "8"

		@config[:logged_job_attributes] = %w[bid tags queue]
		seen = nil
		InlineJobs::Call.body = -> { seen = Sidekiq::Context.current[:queue] }
		work(plain_job(Peer.payload("InlineJobs::Call")))

		assert_equal "default", seen
		assert_includes @log.string, "queue=default"
	end

	def test_load_json_of_an_initializer
		with_load_json('->(text) { JSON.parse(text).tap { |job| job["args"] = [job["args"].sum] if Hash === job } }') do
			seen = nil
			InlineJobs::Call.body = ->(*arguments) { seen = arguments }
			work(plain_job(Peer.payload("InlineJobs::Call", 1, 2)))

			assert_equal [3], seen
		end
	end

	def test_load_json_written_in_c
		with_load_json("Hash.new { |_, text| JSON.parse(text) }.method(:[])") do
			assert_equal :ok, work(plain_job(Peer.payload("InlineJobs::Plain"))).fetch(0).status
		end
	end

	def test_metrics_of_a_job_after_which_the_reloader_raises
		original = Sidekiq.default_configuration[:reloader]
		Sidekiq.default_configuration[:reloader] = ->(&block) { [block.call, raise("too late")] }
		work(plain_job(Peer.payload("InlineJobs::Plain")))
		@tracker.instance_variable_get(:@gokiq_meter).hand_over

		assert_equal 1, @tracker.send(:reset)[0]["p"]
	ensure
		Sidekiq.default_configuration[:reloader] = original
	end

	def test_a_job_that_goes_to_the_threads_keeps_nothing_of_its_frame
		job = plain_job(Peer.payload("PlainTest::Threaded"))
		work(job)

		assert_nil job.instance_variable_get(:@body)
	end

	# Ends as in Sidekiq: by the rules for failures, not as something that has gone wrong in the worker.
	def test_class_whose_file_does_not_load
		with_autoload("raise LoadError, 'no such part'") do |name|
			result = work(plain_job(Peer.payload(name))).fetch(0)

			assert_equal [:retry, "LoadError"], [result.status, result.error_class]
		end
	end

	def test_shutdown_while_a_class_is_loaded
		with_autoload("sleep(5)\nclass NAME\n\tinclude Sidekiq::Job\n\tdef perform(*)\n\tend\nend") do |name|
			job = plain_job(Peer.payload(name))
			results = work(job) do |workload|
				sleep(0.001) until job.slot
				workload.shut_down
			end

			assert_equal [[:refused, 0]], results.map { |result| [result.status, result.counts] }
		end
	end

	# By hand, or by Zeitwerk outside of Rails.
	def test_class_that_is_replaced_between_two_jobs
		seen = []
		define = ->(number, **options) { Class.new { include Sidekiq::Job; sidekiq_options(**options); define_method(:perform) { |*| seen << [number, Fiber.current.blocking?] } } }
		replace = ->(job_class) { self.class.send(:remove_const, :Replaced) if self.class.const_defined?(:Replaced); self.class.const_set(:Replaced, job_class) }
		job = ->(number) { numbered(plain_job(Peer.payload("PlainTest::Replaced")), number) }

		replace.(define.(1))
		work(job.(1)) do |workload|
			[define.(2), define.(3, "gokiq_lane" => "thread")].each_with_index do |job_class, index|
				sleep(0.001) until workload.size.zero?
				replace.(job_class)
				workload.take(job.(index + 2))
			end
		end

		assert_equal [[1, false], [2, false], [3, true]], seen
	end

	def test_class_that_is_removed_fails_by_the_rules
		self.class.const_set(:Removed, Class.new { include Sidekiq::Job; def perform(*) = nil })
		results = work(plain_job(Peer.payload("PlainTest::Removed"))) do |workload|
			sleep(0.001) until workload.size.zero?
			self.class.send(:remove_const, :Removed)
			workload.take(second(plain_job(Peer.payload("PlainTest::Removed"))))
		end

		assert_equal [[:ok, ""], [:retry, "NameError"]], results.map { |result| [result.status, result.error_class] }
	end

	def test_middleware_that_is_added_or_exchanged_between_two_jobs
		seen = []
		late = Class.new { define_method(:call) { |_, job, _, &block| (seen << job["jid"]) && block.call } }
		changes = [
			->(chain) { chain.add(late) }, ->(chain) { chain.remove(late) }, ->(chain) { chain.remove(Sidekiq::Job::InterruptHandler) && chain.add(late) },
		]
		work(plain_job(Peer.payload("InlineJobs::Plain", jid: "j1"))) do |workload|
			changes.each_with_index do |change, index|
				sleep(0.001) until workload.size.zero?
				# Sidekiq 7 gives each capsule a chain of its own.
				(Sidekiq::VERSION >= "8" ? @config : @config.default_capsule).server_middleware(&change)
				workload.take(numbered(plain_job(Peer.payload("InlineJobs::Plain", jid: "j#{index + 2}")), index + 2))
			end
		end

		assert_equal %w[j2 j4], seen
	end

	def test_formatter_that_is_exchanged_between_two_jobs
		work(plain_job(Peer.payload("InlineJobs::Plain"))) do |workload|
			sleep(0.001) until workload.size.zero?
			@config.logger.formatter = Sidekiq::Logger::Formatters::WithoutTimestamp.new
			workload.take(second(plain_job(Peer.payload("InlineJobs::Plain"))))
		end

		assert_equal [true, true, false, false], @log.string.lines.map { |line| line.match?(/\d{4}-\d\d-\d\dT/) }
	end

	def test_class_whose_file_waits_while_others_run
		with_autoload("sleep(0.01)\nclass NAME\n\tinclude Sidekiq::Job\n\tdef perform(*)\n\tend\nend") do |name|
			results = work(plain_job(Peer.payload(name)), second(plain_job(Peer.payload("InlineJobs::Plain"))))

			assert_equal %i[ok ok], results.map(&:status)
		end
	end

	def test_formatter_that_someone_has_extended
		@config.logger.formatter.extend(Module.new { def call(*) = super.sub(/$/, " !") })
		work(plain_job(Peer.payload("InlineJobs::Plain")))

		assert_equal 2, @log.string.scan(/(?:start|done) !$/).size
	end

	# Of a process of its own: what is put before a method stays there.
	def test_methods_of_loggers_that_someone_has_wrapped
		{Logger => :info, Sidekiq::Logger::Formatters::Base => :format_context}.each do |owner, name|
			pid = fork do
				calls = 0
				owner.prepend(Module.new { define_method(name) { |*arguments, &block| (calls += 1) && super(*arguments, &block) } })
				work(plain_job(Peer.payload("InlineJobs::Plain")))
				exit!(calls == 2)
			end

			assert_predicate Process.wait2(pid)[1], :success?, name
		end
	end

	# However it does that.
	WAYS_TO_WRITE = {
		"puts" => -> { puts "said" }, "print" => -> { print "said\n" }, "p" => -> { p :said }, "printf" => -> { printf("%s\n", "said") }, "putc" => -> { "said\n".each_char { |char| putc(char) } },
		"<<" => -> { $stdout << "said\n" }, "write" => -> { $stdout.write("said", "\n") }, "syswrite" => -> { $stdout.syswrite("said\n") },
		"write_nonblock" => -> { $stdout.write_nonblock("said\n") }, "warn" => -> { warn "said" }, "error" => -> { $stderr.puts "said" },
		
	}.freeze

	WAYS_TO_WRITE.each do |name, body|
		define_method("test_what_a_job_writes_with_#{name}_stands_between_its_lines") { assert_between_lines(&body) }
	end

	# A logger cannot write there, so that the lines must wait.
	def test_what_a_handler_of_a_signal_writes_costs_no_line
		text = with_output do |file|
			log_to(file)
			InlineJobs::Call.body = lambda do |*|
				trapped = false
				before = trap(:USR2) { puts("said").then { trapped = true } }
				Process.kill(:USR2, Process.pid)
				nil until trapped
			ensure
				trap(:USR2, before || "DEFAULT")
			end
			work(plain_job(Peer.payload("InlineJobs::Call")))
		end

		assert_equal %w[done said start], text.scan(/start$|said$|done$/).sort, text
		refute_match(/failed/, text)
	end

	def test_what_a_child_of_a_job_writes_stands_between_its_lines
		pid = fork do
			Gokiq::Sidecar::ForkGuard.install
			Gokiq::Sidecar::ForkGuard.before_fork { Gokiq::Sidecar::JobLog.flush }
			assert_between_lines { Process.wait(fork { $stdout.syswrite("said\n") && exit!(true) }) }
			assert_between_lines { system("echo said", out: $stdout) }
			assert_between_lines { `echo said >> #{$stdout.path}` }
			# The reactor has no turn before it has written.
			assert_between_lines { spawn("echo said", out: $stdout).then { |child| nil until Process.wait(child, Process::WNOHANG) } }
			assert_between_lines { Process.detach(Process.spawn("echo said", out: $stdout)).then { |thread| nil while thread.alive? } }
			assert_between_lines { IO.popen("echo said") { |io| $stdout.syswrite(io.read) } }
			exit!(true)
		rescue Exception => error
			warn error.message
			exit!(false)
		end

		assert_predicate Process.wait2(pid)[1], :success?
	end

	def test_lines_of_jobs_that_write_nothing_share_a_write
		writes = 0
		with_output do |file|
			file.define_singleton_method(:write) { |*texts| (writes += 1) && super(*texts) }
			log_to(file)
			work(*Array.new(100) { |index| numbered(plain_job(Peer.payload("InlineJobs::Plain")), index + 1) }, slots: 1)
		end

		assert_operator writes, :<, 50
	end

	def test_lines_that_come_while_a_full_pipe_holds_up_a_write
		reader, writer = IO.pipe
		@config.logger = Sidekiq::Logger.new(writer, level: Logger::INFO).tap { |logger| logger.formatter = Sidekiq::Logger::Formatters::Pretty.new }
		stuck = "." * 1_000
		nil while writer.write_nonblock(stuck, exception: false) != :wait_writable
		text = +""
		InlineJobs::Call.body = ->(*) { sleep(0.001) }

		Sync do |task|
			work_with_reader(task, reader, text)
		end
		assert_equal 6, text.scan(/start$|done$/).size, text.delete(".")
	ensure
		[reader, writer].each(&:close)
	end

	private

	# Two jobs that do it, one after the other.
	def assert_between_lines(&body)
		text = with_output do |file|
			log_to(file)
			InlineJobs::Call.body = ->(*) { body.call }
			work(plain_job(Peer.payload("InlineJobs::Call")), second(plain_job(Peer.payload("InlineJobs::Call"))), slots: 1)
		end

		assert_equal %w[start said done start said done], text.scan(/start$|said$|done$/), text
	end

	def log_to(file)
		@config.logger = Sidekiq::Logger.new(file, level: Logger::INFO).tap { |logger| logger.formatter = Sidekiq::Logger::Formatters::Pretty.new }
	end

	# @returns [String] What the process has written.
	def with_output
		Tempfile.create("output", mode: File::APPEND) do |file|
			file.sync = true
			streams = [$stdout, $stderr]
			$stdout = $stderr = file
			yield file
			File.read(file.path)
		ensure
			$stdout, $stderr = streams
		end
	end

	# Jobs one after the other, the pipe is read only after the second.
	def work_with_reader(task, reader, text)
		entries = Entries.new
		workload = Gokiq::Sidecar::Workload.new(Gokiq::Sidecar::Plan.new(lane: :fiber, slots: 10, threads: 2), Gokiq::Sidecar::State.new)
		workload.outbox = entries
		workload.start
		3.times do |index|
			workload.take(numbered(plain_job(Peer.payload("InlineJobs::Call", index + 1)), index + 1))
			sleep(0.02)
		end
		deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 3
		until text.scan(/start$|done$/).size == 6 || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
			chunk = reader.read_nonblock(65_536, exception: false)
			String === chunk ? text << chunk : sleep(0.01)
		end
		workload.wait(Wait::LIMIT_S)
	end

	def numbered(job, number)
		job.tap { job.instance_variable_set(:@number, number) }
	end

	def second(job)
		numbered(job, 2)
	end

	# As a file `config/initializers/sidekiq.rb` does it.
	def with_load_json(text)
		original = Sidekiq.method(:load_json)
		Sidekiq.define_singleton_method(:load_json, &eval(text, TOPLEVEL_BINDING, "/app/config/initializers/sidekiq.rb"))
		yield
	ensure
		Sidekiq.singleton_class.send(:remove_method, :load_json)
		Sidekiq.define_singleton_method(:load_json, original)
	end

	def with_autoload(text)
		name = "Autoloaded#{name()[/\w+$/].delete("_")}"
		Dir.mktmpdir do |folder|
			path = File.join(folder, "job.rb")
			File.write(path, text.gsub("NAME", name))
			Object.autoload(name, path)
			yield name
		end
	end

	def use_stock_chain
		@tracker = tracker = Sidekiq::Metrics::ExecutionTracker.new(@config)
		@config.server_middleware do |chain|
			chain.clear
			chain.add(Sidekiq::Metrics::Middleware, tracker)
			chain.add(Sidekiq::Job::InterruptHandler)
		end
	end
end
