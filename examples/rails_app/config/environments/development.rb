# frozen_string_literal: true

Rails.application.configure do
	# Without code reloading gokiq-fast runs the jobs in fibers, with it in threads.
	config.enable_reloading = false
	config.eager_load = true
	config.consider_all_requests_local = true
	config.log_level = :info
end
