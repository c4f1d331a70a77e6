# frozen_string_literal: true

class Order < ApplicationRecord
	belongs_to :customer
	belongs_to :product

	def total_cents
		count * product.cents
	end
end
