# frozen_string_literal: true

require "fileutils"

require_relative "../errors"
require_relative "failure"
require_relative "monitor"
require_relative "settings"

module Gokiq
	module Sidecar
		# Starts the root and says in one line why it cannot. Needs no gem itself.
		class Launch
			# Seconds between two looks at the parent.
			PARENT_S = 0.2

			# What the orchestrator keeps in its folder for `gokiq-fast reload`.
			RUN_FILE = "run.json"

			# @parameter env [Hash] Of the process.
			def initialize(env = ENV)
				@env = env
				@monitor = Monitor.new(env["GOKIQ_MONITOR"])
				@booted = false
				@roots = [Dir.pwd]
			end

			# What agents look for in the name of the program before they hook into Sidekiq.
			PROGRAM = "sidekiq"

			# Run the services of a file until they are told to stop.
			# @parameter path [String] Of a `falcon.rb`.
			def call(path)
				settings = Settings.new(@env)
				@verbose = settings.verbose?
				@roots |= [settings.app_folder]
				watch_parent(settings.parent_pid) if settings.parent_pid
				# The warm-up of the container's controller looks for a Gemfile of its own.
				@env["BUNDLE_GEMFILE"] = "/dev/null" unless defined?(::Bundler) || @env.key?("BUNDLE_GEMFILE")
				run(path)
			rescue BootError => error
				fail_boot(error)
			rescue SystemExit => error
				exit(0) if error.success? || @booted
				fail_boot(error, message: "the app, or Sidekiq's own checks, called exit(#{error.status}) while it was loading", hint: "read the lines above")
			rescue LoadError => error
				fail_boot(error, hint: hint_for(error))
			rescue SignalException
				raise
			rescue Exception => error
				# A worker has said why, if it could not start.
				exit!(1) if @policy&.hopeless?
				fail_boot(error)
			end

			private

			# Ruby shows the name in `ps` too, where it is to stay ours.
			def pose_as_sidekiq
				title = File.read("/proc/self/cmdline").tr("\0", " ").strip
				$0 = PROGRAM
				Process.setproctitle(title)
			end

			def run(path)
				pose_as_sidekiq
				require "async/service"
				require "gokiq/sidecar/root/environment"
				require "gokiq/sidecar/root/controller"

				configuration = Async::Service::Configuration.load([path])
				services = configuration.services.to_a
				services.each(&:start)
				@booted = true
				@policy = configuration.container_policy.call
				Controller.new(services, @policy).run
				exit!(1) if @policy.hopeless?
			end

			# An orchestrator that was killed cannot tell us to stop. It may be gone already; and where a script has started
			# us for it, our parent is that script.
			def watch_parent(parent)
				ours = Process.ppid
				Thread.new do
					sleep(PARENT_S) while Process.ppid == ours && (ours == parent || there?(parent))
					clear_away
					# The workers see by themselves that we are gone.
					exit!(1)
				end
			end

			def there?(pid)
				Process.kill(0, pid)
				true
			rescue Errno::EPERM
				true
			rescue Errno::ESRCH
				false
			end

			# Nobody else removes the orchestrator's folder once it was killed; it is empty then.
			def clear_away
				paths = @env.values_at("GOKIQ_SOCKET", "GOKIQ_MONITOR").compact
				paths.each { |path| File.unlink(path) if File.socket?(path) }
				folder = File.dirname(paths.first)
				others = Dir.glob(%w[sidecar*.sock monitor.sock], base: folder).map { |name| File.join(folder, name) }
				FileUtils.rm_f([Settings.new(@env).leader_path, File.join(folder, RUN_FILE), *others])
				Dir.rmdir(folder)
			rescue SystemCallError
				# Somebody else's, or not empty.
			end

			def fail_boot(error, **details)
				details = Failure.new(error, roots: @roots).to_h.merge(details)
				@monitor.call("boot_failed", **details)

				if @verbose || !@monitor.listening?
					warn(error.full_message(highlight: false))
					warn("gokiq-sidecar: #{details[:hint]}") if details[:hint]
				end

				exit!(1)
			end

			def hint_for(error)
				case error.path
				when "sidekiq/cli", /\Async\b/i, "async/service", "async", "async/container"
					"add the gem to the app's bundle: bundle add gokiq-sidecar"
				end
			end
		end
	end
end
