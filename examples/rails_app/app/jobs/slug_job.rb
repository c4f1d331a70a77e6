# frozen_string_literal: true

# Goes over a table, record by record, and goes on where it was when a restart has interrupted it.
class SlugJob
	include Sidekiq::IterableJob

	def build_enumerator(cursor:)
		active_record_records_enumerator(Product.all, cursor: cursor)
	end

	def each_iteration(product)
		product.update!(slug: product.name.parameterize)
	end

	def on_complete
		Audit.create!(action: "slugs", number: "all")
	end
end
