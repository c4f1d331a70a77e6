# frozen_string_literal: true

require_relative "sidecar/version"
require_relative "sidecar/root/environment"
