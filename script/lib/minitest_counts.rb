# frozen_string_literal: true

# Writes what a minitest run came to into the file named by MINITEST_COUNTS, for script/test.

require "minitest"

# Counts, as minitest's own summary does.
class CountsReporter < Minitest::StatisticsReporter
	def report
		super
		counts = [count - failures - errors - skips, failures + errors, skips]
		File.write(ENV.fetch("MINITEST_COUNTS"), counts.join(" "))
	end
end

def Minitest.plugin_counts_init(options)
	reporter << CountsReporter.new(options[:io], options)
end

Minitest.extensions << "counts"
