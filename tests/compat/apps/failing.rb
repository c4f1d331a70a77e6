# frozen_string_literal: true

# app.rb, with handlers that say what they were told, a middleware that changes the job, and due jobs looked for often.

require_relative "app"

# Changes the hash that all layers share, for jobs that ask for it.
class Mutator
	include Sidekiq::ServerMiddleware

	def call(_instance, job, _queue)
		job.update("args" => job["args"] + ["mutated"], "added" => 1, "retry" => false) if job["mutate"]
		yield
	end
end

Sidekiq.configure_server do |config|
	config[:poll_interval_average] = 0.2
	config.server_middleware { |chain| chain.add(Mutator) }
	config.death_handlers << ->(job, error) { note("death", job["jid"], error.class.name, job.keys, job["retry_count"]) }
	config.error_handlers << lambda do |error, context, _config|
		note("error", context[:job]&.fetch("jid", nil), error.class.name, context[:context], context.keys.map(&:to_s), context[:job])
	end
end
