# frozen_string_literal: true

require "openssl"

module Gokiq
	module Sidecar
		# Who may see the Web UI: those who know the password; without one, only browsers that asked for this host by
		# its own name. A foreign site whose name leads to 127.0.0.1 (DNS rebinding) is turned away.
		class WebGuard
			LOOPBACK = /\A(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?\z/i

			# @parameter auth [String | Nil] "user:password".
			def initialize(auth)
				@user, @password = auth&.b&.split(":", 2)
			end

			# @parameter builder [Rack::Builder]
			def add_to(builder)
				if @user
					require "rack/auth/basic"
					builder.use(::Rack::Auth::Basic, "Sidekiq") { |user, password| known?(user, password) }
				else
					builder.use(OwnNames)
				end
			end

			private

			# Both are compared, each in the same time whatever was given.
			def known?(user, password)
				OpenSSL.secure_compare(@user, user.to_s.b) & OpenSSL.secure_compare(@password, password.to_s.b)
			end

			# Middleware that answers only to this host's own names.
			class OwnNames
				def initialize(app)
					@app = app
				end

				def call(env)
					return @app.call(env) if LOOPBACK.match?(env["HTTP_HOST"].to_s)

					[403, {"content-type" => "text/plain"}, ["Only for this host. Set GOKIQ_WEB_AUTH=user:password to let others in.\n"]]
				end
			end
		end
	end
end
