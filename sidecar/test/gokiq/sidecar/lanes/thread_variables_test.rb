# frozen_string_literal: true

require "minitest/autorun"
require "concurrent"
require "support/inline"
require "support/inline_jobs"
require "gokiq/sidecar/sidekiq/promoter"

# Thread variables: what a thread has to itself under Sidekiq, a job has to itself.
class ThreadVariablesTest < Minitest::Test
	include Inline

	Variables = Gokiq::Sidecar::ThreadVariables

	# Run jobs that all wait for one another between the two halves of what they do.
	# @returns [Array(Wire::Result)]
	def run_together(count, slots: count, &body)
		present = 0
		InlineJobs::Call.body = lambda do |number|
			body.call(number) do
				present += 1
				sleep(0.001) until present >= count
			end
		end

		work(*(1..count).map { |number| Peer.payload("InlineJobs::Call", number) }, slots: slots)
	end

	def current = Thread.current

	def names = current.thread_variables - [:concurrent_thread_locals]

	def test_each_job_has_its_own
		seen = {}
		run_together(20) do |number, &meet|
			current.thread_variable_set(:name, number)
			current.thread_variable_set("other", number) if number.odd?
			meet.call
			seen[number] = [current.thread_variable_get("name"), current.thread_variable?(:other), names]
		end

		(1..20).each do |number|
			assert_equal [number, number.odd?, number.odd? ? %i[name other] : [:name]], seen[number]
		end
		refute Thread.current.thread_variable?(:name)
	end

	def test_a_name_of_nothing_is_answered_for_as_by_a_thread
		ask = lambda do
			current.thread_variable_set("name", 1)
			current.thread_variable_set(:none, nil)
			[current.thread_variable?(:name), current.thread_variable?("none"), current.thread_variable?(:unknown), names]
		end
		seen = nil
		run_together(1) { seen = ask.call }

		assert_equal Thread.new(&ask).value, seen
	end

	def test_tasks_and_fibers_of_a_job_see_the_jobs
		seen = {}
		run_together(5) do |number, &meet|
			current.thread_variable_set(:name, number)
			meet.call
			seen[number] = [
				Async { sleep(0.001) && current.thread_variable_get(:name) }.wait,
				Fiber.new { current.thread_variable_get(:name) }.resume,
				Enumerator.new { |out| out << current.thread_variable_get(:name) }.next,
			]
			Async { current.thread_variable_set(:name, -number) }
			seen[number] << current.thread_variable_get(:name)
		end

		(1..5).each { |number| assert_equal [number, number, number, -number], seen[number] }
	end

	def test_a_thread_of_a_job_has_its_own_and_may_ask_for_its_parents
		seen = {}
		run_together(5) do |number, &meet|
			parent = current
			parent.thread_variable_set(:name, number)
			meet.call
			seen[number] = Thread.new do
				before = current.thread_variable_get(:name)
				current.thread_variable_set(:name, :its)
				[before, current.thread_variable_get(:name), parent.thread_variable_get(:name)]
			end.value
		end

		(1..5).each { |number| assert_equal [nil, :its, number], seen[number] }
	end

	def test_values_of_concurrent_ruby_are_the_jobs
		seen = {}
		var = Concurrent::ThreadLocalVar.new(:default)
		run_together(10) do |number, &meet|
			var.value = number if number.odd?
			meet.call
			seen[number] = var.value
		end

		(1..10).each { |number| assert_equal number.odd? ? number : :default, seen[number] }
	end

	# Concurrent-ruby forgets them when the thread ends, which the reactor's does not.
	def test_arrays_of_concurrent_ruby_are_used_again
		var = Concurrent::ThreadLocalVar.new
		seen = []
		InlineJobs::Call.body = lambda do |number|
			seen << var.value
			var.value = number
			raise "ends its slot"
		end
		arrays = Concurrent::ThreadLocalVar.const_get(:LOCALS).instance_variable_get(:@all_arrays)
		before = arrays.size
		work(*(1..200).map { |number| Peer.payload("InlineJobs::Call", number) }, slots: 4)

		assert_equal [nil], seen.uniq
		assert_operator arrays.size - before, :<=, 70
	end

	def test_what_a_job_leaves_the_next_one_of_the_slot_finds_as_in_a_thread
		seen = {fiber: [], thread: []}
		InlineJobs::Call.body = lambda do |lane, number|
			seen[lane.to_sym] << Thread.current.thread_variable_get(:left)
			Thread.current.thread_variable_set(:left, number)
			raise "ends its slot" if number == 2
		end
		%w[fiber thread].each do |lane|
			work(*(1..3).map { |number| Peer.payload("InlineJobs::Call", lane, number) }, lane: lane.to_sym, slots: 1)
		end

		assert_equal [nil, 1, nil], seen[:thread]
		assert_equal seen[:thread], seen[:fiber]
	end

	def test_names_that_are_no_names_are_refused_as_ever
		InlineJobs::Call.body = ->(_) { Thread.current.thread_variable_set(1, 2) }

		assert_equal "TypeError", run_job("InlineJobs::Call", 1).job["error_class"]
	end

	def test_the_application_may_share_some
		seen = {}
		Variables.configure({"shared_thread_variables" => ["pool"]})
		run_together(3) do |number, &meet|
			current.thread_variable_set("pool", :one) if number == 1
			current.thread_variable_set(:name, number)
			meet.call
			seen[number] = [current.thread_variable_get(:pool), names.sort]
		end

		(1..3).each { |number| assert_equal [:one, %i[name pool]], seen[number] }
	ensure
		Variables.configure({"shared_thread_variables" => []})
		Thread.current.thread_variable_set(:pool, nil)
	end

	def test_what_is_no_list_of_names_is_refused
		["pool", {pool: 1}, [1], [""], 5, true].each do |wrong|
			error = assert_raises(Gokiq::Sidecar::BootError) { Variables.configure({shared_thread_variables: wrong}, "x.yml") }
			assert_equal "x.yml: gokiq: shared_thread_variables #{wrong.inspect}: must be a list of names", error.message
		end
	end

	def test_a_thread_of_the_thread_lane_has_nothing_of_the_fiber_that_made_it
		seen = []
		InlineJobs::Call.body = lambda do |_|
			seen << [Thread.main == Thread.current, Fiber[:mark], Thread.main.thread_variable_get(:mark)]
			Fiber[:mark] = 1
			Thread.current.thread_variable_set(:mark, 1)
		end
		work(Peer.payload("InlineJobs::Call", 1), Peer.payload("InlineJobs::Call", 2, gokiq_lane: "thread"), slots: 1)

		assert_equal [[true, nil, nil], [false, nil, nil]], seen
	end

	def test_accessors_of_threads_are_named
		Thread.class_eval { attr_accessor :gokiq_test_state }
		told = Variables.accessors

		assert_equal 1, told.grep(/\AThread#gokiq_test_state \(.*thread_variables_test\.rb:\d+\)\z/).size, told.inspect
		assert_empty told.grep(/active_support/)
	ensure
		Thread.class_eval { undef gokiq_test_state, gokiq_test_state= }
	end
end
