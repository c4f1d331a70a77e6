# frozen_string_literal: true

ActiveRecord::Schema[7.2].define(version: 1) do
	create_table :customers, force: true do |t|
		t.string :name, null: false
		t.string :locale, null: false
	end

	create_table :products, force: true do |t|
		t.string :name, null: false
		t.integer :cents, null: false
		t.integer :stock, null: false
		t.string :slug
	end

	create_table :orders, force: true do |t|
		t.string :number, null: false, index: {unique: true}
		t.references :customer, null: false
		t.references :product, null: false
		t.integer :count, null: false
		t.string :state, null: false, default: "placed"
		t.timestamps
	end

	create_table :payments, force: true do |t|
		t.string :number, null: false
		t.integer :cents, null: false
		t.integer :attempt, null: false
		t.timestamps
	end

	create_table :refusals, force: true do |t|
		t.string :number, null: false
		t.string :reason, null: false
		t.timestamps
	end

	create_table :letters, force: true do |t|
		t.string :to, null: false
		t.string :subject, null: false
		t.text :body, null: false
		t.timestamps
	end

	create_table :audits, force: true do |t|
		t.string :actor
		t.string :action, null: false
		t.string :number, null: false
		t.timestamps
	end

	create_table :attempts, force: true do |t|
		t.string :number, null: false
		t.timestamps
	end
end
