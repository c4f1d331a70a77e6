# frozen_string_literal: true

# The application of the compatibility tests: `note` and the journal first, then every file of jobs/.

require "json"
require "sidekiq"
require_relative "../../../examples/demo/journal"

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))

# Bear witness: one line of JSON in the journal's `notes`, from any process.
def note(*values)
	line = JSON.generate(values) + "\n"
	File.open(File.join(ENV.fetch("TEST_JOURNAL"), "notes"), "a") { |file| file.syswrite(line) }
end

# Ends well at once.
class JournalJob
	include Sidekiq::Job

	def perform(*)
		JOURNAL.record(jid, self.class) {}
	end
end

# Takes its time.
class SleepJob
	include Sidekiq::Job

	def perform(seconds)
		JOURNAL.record(jid, self.class) { sleep(seconds) }
	end
end

# Never ends well.
class FailingJob
	include Sidekiq::Job

	def perform(message = "no way")
		JOURNAL.record(jid, self.class) { raise ArgumentError, message }
	end
end

Dir[File.join(__dir__, "jobs", "*.rb")].sort.each { |file| require file }
