# frozen_string_literal: true

# A Rails app and its jobs in one process tree: put this file beside config.ru, then
#
#   GOKIQ_SOCKET=/run/shop/gokiq.sock GOKIQ_SIDEKIQ_ARGS='["-r","."]' bundle exec falcon host falcon.rb
#   gokiq-fast --sidecar unix:/run/shop/gokiq.sock
#
# The folder of the socket belongs to the user of both, mode 0700. Load Rails in config.ru and let
# Bundler require "falcon" after it: its railtie sets the isolation level that fibers need.

require "falcon/environment/rackup"
require "falcon/environment/server"
require "gokiq/sidecar"

service "web" do
  include Falcon::Environment::Server
  include Falcon::Environment::Rackup

  url { ENV.fetch("WEB_URL", "http://127.0.0.1:9292") }
  count { Integer(ENV.fetch("WEB_WORKERS", "2")) }
end

# Jobs have as long to end as the app's timeout (or GOKIQ_DRAIN_S) says. A worker that a job kills is
# replaced; the web server goes on.
service "gokiq" do
  include Gokiq::Sidecar::Environment
end
