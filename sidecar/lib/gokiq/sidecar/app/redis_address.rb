# frozen_string_literal: true

require "sidekiq"
require "uri"

require_relative "../errors"
require_relative "../root/failure"

module Gokiq
	module Sidecar
		# Where the application's own Sidekiq would connect, as HELLO tells it. Opens no connection.
		module RedisAddress
			# @parameter capsule [Sidekiq::Capsule]
			# @returns [Hash] See `docs/protocol.md` section 3.
			# @raises [BootError] If it is no address, naming where it was set.
			def self.of(capsule)
				options = symbolized(capsule.config.instance_variable_get(:@redis_config) || {})
				read(options)
			rescue ArgumentError, TypeError, RuntimeError, URI::Error => error
				raise BootError.new(Failure.masked(wrong(options, error.message.lines.first.to_s.strip), options[:url].to_s), error_class: "ConfigError")
			end

			def self.read(options)
				# A client that is thrown away: the capsule makes its own pool when its first job asks for it.
				config = ::Sidekiq::RedisConnection.create(options.merge(size: 1)).with(&:config)
				address = sentinel?(config) ? sentinel(config, options) : server(config)

				address.merge(
					db: config.db,
					username: plain_user(config.username),
					password: secret(config, config.username),
					ssl: config.ssl?,
					tls: tls(options[:ssl_params] || {}),
					timeout: options[:timeout] || options[:network_timeout],
					**source(options),
				).compact
			end

			# What redis-client makes of `ssl_params`; certificate and key may be files, PEM or objects.
			def self.tls(params)
				{
					verify: params[:verify_mode] != OpenSSL::SSL::VERIFY_NONE,
					verify_hostname: params[:verify_hostname] != false,
					ca_file: path(params[:ca_file]), ca_path: path(params[:ca_path]),
					**pem(:cert, params[:cert]), **pem(:key, params[:key]),
				}.compact
			end

			def self.pem(name, value)
				return {} if value.nil?
				return {"#{name}_file": path(value)} if value.is_a?(String) && File.exist?(value)

				{"#{name}_pem": value.is_a?(String) ? value : value.to_pem}
			end

			# The orchestrator may run in another folder.
			def self.path(value)
				value && File.expand_path(value)
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
				config.path ? {path: path(config.path)} : {host: config.host, port: config.port}
			end

			def self.sentinel(config, options)
				listed = options[:sentinels].map { |entry| entry.is_a?(String) ? sentinel_at(URI(entry)) : entry }
				# One may have a password of its own; we know one for all.
				password = options[:sentinel_password] || listed.filter_map { |entry| entry[:password] }.first
				user = options[:sentinel_username] || listed.filter_map { |entry| entry[:username] }.first

				{
					sentinels: listed.map { |entry| {host: entry[:host], port: Integer(entry[:port] || 26_379)} },
					name: config.name,
					sentinel_username: user,
					sentinel_password: password.respond_to?(:call) ? password.call(user) : password,
					sentinel_ssl: options.key?(:ssl) && config.ssl?,
				}
			end

			def self.sentinel_at(uri)
				{host: uri.host, port: uri.port, username: uri.user, password: uri.password}
			end

			# As Sidekiq does it.
			def self.symbolized(value)
				case value
				when Hash then value.to_h { |key, inner| [key.to_sym, symbolized(inner)] }
				when Array then value.map { |inner| symbolized(inner) }
				else value
				end
			end
			private_class_method :read, :tls, :pem, :path, :sentinel_at, :symbolized, :source, :wrong, :plain_user, :secret, :sentinel?, :server, :sentinel
		end
	end
end
