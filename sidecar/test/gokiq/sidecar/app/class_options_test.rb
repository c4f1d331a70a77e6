# frozen_string_literal: true

require "minitest/autorun"
require "sidekiq"
require "gokiq/sidecar/app/class_options"

# What job classes ask of the orchestrator.
class ClassOptionsTest < Minitest::Test
	class ImportJob
		include Sidekiq::Job

		sidekiq_options gokiq_limit: 5, gokiq_rate: "10/s", gokiq_dependency: "api", queue: "low"
	end

	class NarrowImportJob < ImportJob
		sidekiq_options gokiq_limit: 1
	end

	class PlainJob
		include Sidekiq::Job
	end

	def said(job)
		Gokiq::Sidecar::ClassOptions.all[job.name]
	end

	def test_what_a_class_asks_for
		assert_equal({limit: 5, rate: "10/s", dependency: "api"}, said(ImportJob))
	end

	def test_a_class_inherits_and_overrides
		assert_equal({limit: 1, rate: "10/s", dependency: "api"}, said(NarrowImportJob))
	end

	def test_a_class_that_asks_for_nothing_and_one_without_a_name
		Class.new(ImportJob)

		assert_nil said(PlainJob)
		refute_includes Gokiq::Sidecar::ClassOptions.all.keys, nil
	end

	def test_the_names_of_all_classes_that_are_loaded
		names = Gokiq::Sidecar::ClassOptions.names

		assert_empty([ImportJob, NarrowImportJob, PlainJob].map(&:name) - names)
		refute_includes names, nil
	end
end
