# frozen_string_literal: true

class OrderMailer < ApplicationMailer
	def receipt(order)
		@order = order
		mail(to: "customer-#{order.customer_id}@shop.example", subject: default_i18n_subject(number: order.number))
	end
end
