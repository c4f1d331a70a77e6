# frozen_string_literal: true

require "json"
require "zlib"

# Stands for the profiler's gem: as much of it as Sidekiq uses.
module Vernier
	def self.profile(mode:, out:, **options)
		yield
	ensure
		Zlib::GzipWriter.open(out) { |file| file << JSON.generate(mode: mode, **options) }
	end
end
