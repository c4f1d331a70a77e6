# frozen_string_literal: true

require "sidekiq"
require "uri"

require_relative "errors"
require_relative "failure"

module Gokiq
	module Sidecar
		# Where the application's own Sidekiq would connect, as HELLO tells it. Opens no connection.
		module RedisAddress
			# @parameter capsule [Sidekiq::Capsule]
			# @returns [Hash] See `docs/protocol.md` section 3.
			# @raises [BootError] If it is no address, naming where it was set.
			def self.of(capsule)
				options = capsule.config.instance_variable_get(:@redis_config) || {}
				read(options)
			rescue ArgumentError, TypeError, RuntimeError, URI::Error => error
				raise BootError.new(Failure.masked(wrong(options, error.message.lines.first.to_s.strip)), error_class: "ConfigError")
			end

			def self.read(options)
				# A client that is thrown away: the capsule makes its own pool when its first job asks for it.
				config = ::Sidekiq::RedisConnection.create(options.merge(size: 1)).with(&:config)
				address = sentinel?(config) ? sentinel(config, options) : server(config)
				tls = options[:ssl_params] || {}

				address.merge(
					db: config.db,
					username: plain_user(config.username),
					password: secret(config, config.username),
					ssl: config.ssl?,
					tls: {
						verify: tls[:verify_mode] != OpenSSL::SSL::VERIFY_NONE,
						ca_file: tls[:ca_file], cert_file: tls[:cert], key_file: tls[:key],
					},
					timeout: options[:timeout] || options[:network_timeout],
					**source(options),
				).compact
			end

			# The variable is the one that Sidekiq reads, whether or not it is set.
			def self.source(options)
				return {source: "config"} if %i[url host path sentinels].any? { |key| options[key] }

				named = ENV["REDIS_PROVIDER"]
				{source: "env", variable: named && ENV[named] ? named : "REDIS_URL"}
			end

			def self.wrong(options, message)
				variable = source(options)[:variable]
				return "Sidekiq's redis configuration in Ruby: #{message}" unless variable
				return "REDIS_PROVIDER #{ENV["REDIS_PROVIDER"]}: must be the name of the variable that holds the address, not an address" if ENV["REDIS_PROVIDER"]&.include?(":")

				"#{variable} #{ENV[variable].inspect}: must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix://PATH (#{message})"
			end

			# redis-client names a user even when none was given.
			def self.plain_user(name)
				name unless name.nil? || name == "default"
			end

			def self.secret(config, user)
				value = config.respond_to?(:password) ? config.password : nil
				value.respond_to?(:call) ? value.call(user) : value
			end

			def self.sentinel?(config)
				defined?(::RedisClient::SentinelConfig) && ::RedisClient::SentinelConfig === config
			end

			def self.server(config)
				config.path ? {path: config.path} : {host: config.host, port: config.port}
			end

			def self.sentinel(config, options)
				listed = options[:sentinels].map do |entry|
					if entry.is_a?(String)
						uri = URI(entry)
						{host: uri.host, port: uri.port || 26_379}
					else
						{host: entry[:host] || entry["host"], port: Integer(entry[:port] || entry["port"] || 26_379)}
					end
				end

				password = options[:sentinel_password]
				{sentinels: listed, name: config.name, sentinel_password: password.respond_to?(:call) ? password.call(nil) : password}
			end
			private_class_method :read, :source, :wrong, :plain_user, :secret, :sentinel?, :server, :sentinel
		end
	end
end
