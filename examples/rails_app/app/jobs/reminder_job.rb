# frozen_string_literal: true

# Speaks the language that was set where it was pushed, and fails once, to be retried by Sidekiq.
class ReminderJob
	include Sidekiq::Job

	sidekiq_options retry: 3
	sidekiq_retry_in { 1 }

	def perform(customer_id)
		customer = Customer.find(customer_id)
		number = "reminder #{customer_id}"
		is_first = Attempt.where(number: number).none?
		Attempt.create!(number: number)
		raise "the first attempt fails" if is_first && customer_id % 5 == 0

		Letter.create!(to: customer.name, subject: I18n.t("reminder", name: customer.name), body: I18n.locale.to_s)
	end
end
