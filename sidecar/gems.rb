# frozen_string_literal: true

source "https://rubygems.org"

gemspec

group :development do
	gem "minitest"
	gem "puma"
	gem "rackup"
	gem "rails"
	gem "sqlite3"
end
