# frozen_string_literal: true

# Asks Sidekiq's own API, from a process that gokiq knows nothing of, and prints JSON.

require "json"
require "sidekiq/api"

order = ARGV.first
processes = Sidekiq::ProcessSet.new
process = processes.first

case order
when "look"
	stats = Sidekiq::Stats.new
	puts JSON.generate(
		size: processes.size,
		total_concurrency: processes.total_concurrency,
		identity: process.identity,
		tag: process.tag,
		version: process["version"],
		busy: process["busy"],
		stopping: process.stopping?,
		queues: process["queues"],
		work: Sidekiq::WorkSet.new.map { |_, _, work| work.job.jid },
		processed: stats.processed,
		failed: stats.failed,
		retries: stats.retry_size,
		enqueued: stats.enqueued,
	)
when "quiet" then process.quiet!
when "stop" then process.stop!
end
