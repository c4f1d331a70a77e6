# frozen_string_literal: true

class Product < ApplicationRecord
	class OutOfStock < StandardError
	end

	# Take some out of the stock. The row is locked until the end of the transaction.
	# @raises [OutOfStock]
	def take!(count)
		lock!
		raise OutOfStock, "only so few left of #{name}" if stock < count

		update!(stock: stock - count)
	end
end
