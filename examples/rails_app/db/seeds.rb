# frozen_string_literal: true

Customer.insert_all!((1..20).map { |i| {id: i, name: "Customer #{i}", locale: i.even? ? "de" : "en"} })
Product.insert_all!((1..10).map { |i| {id: i, name: "Thing No. #{i}", cents: 100 * i, stock: 100} })
