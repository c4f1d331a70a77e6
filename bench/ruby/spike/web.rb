# frozen_string_literal: true

# Plays the web application beside the jobs: a request every so often, whatever became of those before, and meanwhile a look
# at who is connected. At a line on its input it ends, and writes what it saw, one JSON array a line, times in seconds of the
# monotonic clock:
#
#   ["request", due, end, error or null]
#   ["look", at, connections, connections of jobs, active connections of jobs]
#
# usage: web.rb URL ADMIN_URL RATE CONNECTIONS ACCOUNTS OUTPUT
#   URL          of the database, as the application
#   ADMIN_URL    of the database, as who has a connection kept for him
#   RATE         requests a second
#   CONNECTIONS  of its pool
#   ACCOUNTS     how many there are
#   OUTPUT       file to write

require "async"
require "connection_pool"
require "json"
require "pg"

# A request that took or waited longer has failed, in seconds.
LIMIT = 10
# Between two looks, in seconds.
LOOK = 0.1
# Rows that a request reads before it changes one.
READS = 3

CONNECTED = <<~SQL
	SELECT count(*), count(*) FILTER (WHERE application_name = 'jobs'),
		count(*) FILTER (WHERE application_name = 'jobs' AND state = 'active')
	FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'observer'
SQL

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

url, admin_url, rate, connections, accounts, output = ARGV
rate, connections, accounts = Float(rate), Integer(connections), Integer(accounts)
seen = []
random = Random.new(1)
pool = ConnectionPool.new(size: connections, timeout: LIMIT) do
	PG.connect(url, application_name: "web", options: "-c statement_timeout=#{LIMIT}s")
end

request = lambda do |due|
	error = nil
	pool.with do |connection|
		READS.times { connection.exec_params("SELECT look($1)", [random.rand(accounts)]) }
		connection.exec_params("SELECT charge($1)", [random.rand(accounts)])
	end
rescue PG::Error, ConnectionPool::TimeoutError => error
	# Noted below.
ensure
	seen << ["request", due, now, error&.class]
end

Sync do |task|
	# A web application that has been there for a while has its connections:
	connections.times.map { task.async { pool.with { |connection| connection.exec("SELECT pg_sleep(0.2)") } } }.each(&:wait)
	observer = PG.connect(admin_url, application_name: "observer")

	ending = false
	looking = task.async do
		until ending
			seen << ["look", now, *observer.exec(CONNECTED).values.first.map(&:to_i)]
			sleep LOOK
		end
	end

	requests = []
	coming = task.async do
		began = now
		(0..).each do |number|
			due = began + number / rate
			sleep [due - now, 0].max
			break if ending

			requests << task.async { request.call(due) }
		end
	end

	$stdout.sync = true
	puts "ready"
	$stdin.gets
	ending = true
	[coming, *requests, looking].each(&:wait)
end

File.write(output, seen.map { |line| "#{JSON.generate(line)}\n" }.join)
