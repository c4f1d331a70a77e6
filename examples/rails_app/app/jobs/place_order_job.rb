# frozen_string_literal: true

# Writes in a transaction: the order is there together with what it took out of the stock, or neither is.
class PlaceOrderJob < ApplicationJob
	queue_as :critical

	discard_on Product::OutOfStock do |job, _error|
		Refusal.create!(number: job.arguments.first, reason: "out of stock")
	end

	# @parameter number [String]
	# @parameter customer [Customer] As a GlobalID in the queue.
	# @parameter product [Product] As a GlobalID in the queue.
	# @parameter count [Integer]
	def perform(number, customer, product, count)
		order = Order.transaction do
			Order.create!(number: number, customer: customer, product: product, count: count).tap { product.take!(count) }
		end

		AuditJob.perform_async("placed", number)
		ChargeJob.perform_later(order)
	end
end
