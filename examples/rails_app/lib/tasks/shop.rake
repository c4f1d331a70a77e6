# frozen_string_literal: true

namespace :shop do
	desc "Push the day's jobs: orders of twenty customers, reminders, a walk over all products"
	task enqueue: :environment do
		(1..60).each do |i|
			count = i % 12 == 0 ? 1_000 : 1 + i % 3

			Current.set(actor: "clerk #{i % 4}") do
				PlaceOrderJob.perform_later(i.to_s, Customer.find(1 + i % 20), Product.find(1 + i % 10), count)
			end
		end

		Customer.find_each do |customer|
			I18n.with_locale(customer.locale) { ReminderJob.perform_async(customer.id) }
		end

		SlugJob.perform_async
		HopelessJob.perform_async("hopeless")
	end

	desc "Print every table, and Sidekiq's counters, without what differs from run to run"
	task dump: :environment do
		Sidekiq.default_configuration.logger.level = Logger::WARN

		[Product, Order, Payment, Refusal, Letter, Audit, Attempt].each do |model|
			columns = model.column_names - %w[id created_at updated_at]
			rows = model.pluck(*columns).map { |row| Array(row).map(&:inspect).join(" ") }
			puts "#{model.table_name}: #{columns.join(" ")}", rows.sort.map { |row| "  #{row}" }
		end

		stats = Sidekiq::Stats.new
		puts "sidekiq:"
		%i[processed failed enqueued scheduled_size retry_size dead_size].each { |name| puts "  #{name} #{stats.public_send(name)}" }
	end
end
