# frozen_string_literal: true

# The shape of a gem that adds a queue of this machine's own on `startup`, where its job shows that jobs run.
module SidekiqAlive
	CAPSULE_NAME = "sidekiq-alive"

	Settings = Struct.new(:concurrency)

	def self.config = Settings.new(2)

	def self.current_queue = "sidekiq-alive-here"

	# Its job.
	class Worker
		include Sidekiq::Job

		def perform = note("alive in #{self.class.sidekiq_options["queue"]}")
	end
end

Sidekiq.configure_server do |config|
	config.on(:startup) do
		SidekiqAlive::Worker.sidekiq_options(queue: SidekiqAlive.current_queue)
		config.capsule(SidekiqAlive::CAPSULE_NAME) do |capsule|
			capsule.concurrency = 2
			capsule.queues = [SidekiqAlive.current_queue]
		end
		note("alive started pid=#{Process.pid}")
	end
end
