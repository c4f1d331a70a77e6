# frozen_string_literal: true

# As examples/falcon.rb, where Falcon is not installed: something else answers beside the jobs.

require "async/http/endpoint"
require "async/http/server"
require "async/service/managed/environment"
require "async/service/managed/service"
require "protocol/http/response"
require "gokiq/sidecar"

# Answers, and loads the app as a web server would.
class Web < Async::Service::Managed::Service
  def start
    @endpoint = Async::HTTP::Endpoint.parse(ENV.fetch("WEB_URL"))
    Sync { @bound = @endpoint.bound }
    super
  end

  def run(_instance, evaluator)
    app = lambda do |_request|
      require File.join(evaluator.root, "config/environment")
      Protocol::HTTP::Response[200, {}, [ActiveSupport::IsolatedExecutionState.isolation_level.to_s]]
    end
    Async::HTTP::Server.for(@bound, protocol: @endpoint.protocol, scheme: "http", &app).tap { |server| Async { server.run } }
  end
end

service "web" do
  include Async::Service::Managed::Environment

  service_class { Web }
  count { 1 }
end

service "gokiq" do
  include Gokiq::Sidecar::Environment
end
