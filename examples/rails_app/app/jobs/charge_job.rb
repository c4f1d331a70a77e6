# frozen_string_literal: true

# Waits for a payment service that is down for the first attempt of every third order.
class ChargeJob < ApplicationJob
	class ServiceDown < StandardError
	end

	# Active Job pushes a new job for the retry; to Sidekiq this one has succeeded.
	retry_on ServiceDown, wait: 1.second, attempts: 3

	# @parameter order [Order] As a GlobalID in the queue.
	def perform(order)
		sleep(0.02)
		raise ServiceDown if order.number.to_i % 3 == 0 && executions == 1

		Order.transaction do
			Payment.create!(number: order.number, cents: order.total_cents, attempt: executions)
			order.update!(state: "paid")
		end

		I18n.with_locale(order.customer.locale) { OrderMailer.receipt(order).deliver_later }
	end
end
