# frozen_string_literal: true

# app.rb, with a log in the style that LOG_STYLE names.

require_relative "app"

# Logs jobs in its own way, around Sidekiq's.
class OwnJobLogger < Sidekiq::JobLogger
	def prepare(job, &block)
		super do
			Sidekiq::Context.add(:own, job["args"].size)
			block.call
		end
	end

	def call(job, queue, &block)
		Sidekiq.logger.info { "own start in #{queue}" }
		super
	ensure
		Sidekiq.logger.info { "own end" }
	end
end

# Logs jobs in its own way, without anything of Sidekiq's.
class BareJobLogger
	def initialize(config)
		@logger = config.logger
	end

	def prepare(_job)
		yield
	end

	def call(job, queue)
		@logger.info { "bare start of #{job["jid"]} in #{queue}" }
		yield
		@logger.info { "bare end of #{job["jid"]}" }
	end
end

# Logs on its way, and fails if it is told to.
class TellingJob
	include Sidekiq::Job

	def perform(way = nil)
		logger.info { "info of #{jid}" }
		logger.debug { "debug of #{jid}" }
		Sidekiq.logger.warn("warning of #{jid}")
		raise ArgumentError, way if way
	end
end

Sidekiq.configure_server do |config|
	style = ENV.fetch("LOG_STYLE")

	case style
	when "default" then nil
	when "json" then config.logger.formatter = Sidekiq::Logger::Formatters::JSON.new
	when "plain" then config.logger.formatter = Sidekiq::Logger::Formatters::Plain.new
	when "own formatter" then config.logger.formatter = ->(severity, _time, _name, text) { "#{severity}|#{Sidekiq::Context.current.to_a.flatten.join("|")}|#{text}\n" }
	when "own logger" then config.logger = Logger.new($stdout, progname: "own", formatter: ->(severity, _time, name, text) { "#{name} #{severity} #{Sidekiq::Context.current[:jid]} #{text}\n" })
	when "warn" then config.logger.level = Logger::WARN
	when "debug" then config.logger.level = Logger::DEBUG
	when "own job logger" then config[:job_logger] = OwnJobLogger
	when "bare job logger" then config[:job_logger] = BareJobLogger
	when "no job logging" then config[:skip_default_job_logging] = true
	when "attributes" then config[:logged_job_attributes] = %w[tags queue tenant]
	else raise ArgumentError, style
	end
end
