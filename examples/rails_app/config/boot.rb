# frozen_string_literal: true

gemfile = ENV["BUNDLE_GEMFILE"] || File.expand_path("../Gemfile", __dir__)

# Where the gems come without Bundler (a distribution's packages), the load path is right already.
if File.exist?("#{gemfile}.lock")
	ENV["BUNDLE_GEMFILE"] = gemfile
	require "bundler/setup"
end
