# frozen_string_literal: true

# As in Rails 8. Up to 7.2 `timeout` in database.yml waits for SQLite's write lock inside of SQLite, which holds the whole
# process, and with it the fiber that has the lock. This one sleeps in Ruby, and a fiber that sleeps lets the others run.
module PatientSQLite
	private

	def configure_connection
		# Before Rails asks the database for the first time, which may be locked already.
		@raw_connection.busy_handler_timeout = 10_000
		super
	end
end

ActiveSupport.on_load(:active_record_sqlite3adapter) { prepend PatientSQLite }
