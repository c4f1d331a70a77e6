# frozen_string_literal: true

# The sidecar as a service: for `falcon host falcon.rb`, for `async-service falcon.rb`, and for `bin/gokiq-sidecar`.

require "gokiq/sidecar"
require "gokiq/sidecar/root/policy"

# Workers that crash are replaced for as long as the orchestrator wants them; it is the one to give up.
container_policy { Gokiq::Sidecar::Policy.new }

service "gokiq" do
	include Gokiq::Sidecar::Environment
end
