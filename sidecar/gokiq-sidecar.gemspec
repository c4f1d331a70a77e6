# frozen_string_literal: true

require_relative "lib/gokiq/sidecar/version"

Gem::Specification.new do |spec|
	spec.name = "gokiq-sidecar"
	spec.version = Gokiq::Sidecar::VERSION

	spec.summary = "Runs Sidekiq jobs in the fibers of an async reactor, for the gokiq orchestrator."
	spec.authors = ["The gokiq authors"]
	spec.license = "MIT"

	spec.metadata = {
		"rubygems_mfa_required" => "true",
	}

	spec.files = Dir["{bin,lib}/**/*", "falcon.rb", "readme.md", base: __dir__].select { |path| File.file?(File.join(__dir__, path)) }
	spec.bindir = "bin"
	spec.executables = ["gokiq-sidecar"]

	spec.required_ruby_version = ">= 3.3"

	spec.add_dependency "async", ">= 2"
	spec.add_dependency "async-container"
	spec.add_dependency "async-service"
	spec.add_dependency "sidekiq", ">= 7.3", "< 9"
end
