# frozen_string_literal: true

# What other fibers can do while one fiber does something that takes a while. Prints "yields" or "blocks", a tab and
# what it did; "own" or "shared" for places to keep state in; "lost", "ignored" and "fails" where it differs from
# a thread. Arguments: a folder; `REDIS_URL` names a Redis.

require "active_support"
require "active_support/current_attributes"
require "active_support/core_ext/time/zones"
require "async"
require "concurrent"
require "i18n"
require "monitor"
require "net/http"
require "open3"
require "openssl"
require "redis-client"
require "resolv"
require "sqlite3"
require "timeout"
require_relative "../../sidecar/lib/gokiq/sidecar/lanes/thread_variables"

# Ractors are experimental, and the log is read.
Warning[:experimental] = false

FOLDER = ARGV.fetch(0)
LONG_S = 0.25

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

# A server in a process of its own that answers late.
def start_late_server
  server = TCPServer.new("127.0.0.1", 0)

  pid = fork do
    while (client = server.accept)
      Thread.new(client) do |socket|
        socket.readpartial(1_000)
        sleep(LONG_S)
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        socket.close
      end
    end
  end

  at_exit { Process.kill(:KILL, pid) unless pid == Process.pid }
  server.addr[1]
end

def compute
  deadline = now + LONG_S
  nil until now > deadline
end

def hold(lock)
  Async { lock.synchronize { sleep(LONG_S) } }
  lock.synchronize {}
end

# Calls a block in a thread, late.
def later
  Thread.new do
    sleep(LONG_S)
    yield
  end
end

# What answers the first question for an address with 127.0.0.2, late.
def start_late_nameserver
  server = UDPSocket.new
  server.bind("127.0.0.1", 0)
  Thread.new do
    question, from = server.recvfrom(512)
    sleep(LONG_S)
    message = Resolv::DNS::Message.decode(question)
    message.qr = 1
    message.add_answer(message.question.first.first, 60, Resolv::DNS::Resource::IN::A.new("127.0.0.2"))
    server.send(message.encode, 0, from[3], from[1])
  end
  server.addr[1]
end

def lock_database(path, wait)
  holder, waiter = Array.new(2) { SQLite3::Database.new(path) }
  wait.call(waiter)
  holder.execute("BEGIN IMMEDIATE")

  Async do
    sleep(LONG_S / 2)
    holder.execute("COMMIT")
  end

  waiter.execute("BEGIN IMMEDIATE")
  waiter.execute("COMMIT")
rescue SQLite3::BusyException
  # The holder could not go on.
end

port = start_late_server
database = File.join(FOLDER, "locked.sqlite3")
big = File.join(FOLDER, "big").tap { |path| File.open(path, "w") { |file| file.truncate(2_000_000_000) } }
fifo = File.join(FOLDER, "fifo").tap { |path| File.mkfifo(path) }
nameserver = start_late_nameserver
flocked = File.join(FOLDER, "flocked").tap { |path| File.write(path, "") }

ACTIONS = {
  "`sleep`" => -> { sleep(LONG_S) },
  "`Net::HTTP`" => -> { Net::HTTP.get(URI("http://127.0.0.1:#{port}/")) },
  "`TCPSocket#read`" => -> { TCPSocket.open("127.0.0.1", port) { |socket| socket.write("x") && socket.read } },
  "`IO.select`" => -> { IO.select([IO.pipe.first], nil, nil, LONG_S) },
  "`redis-client`" => -> { RedisClient.config(url: ENV.fetch("REDIS_URL")).new_client.blocking_call(5, "BLPOP", "none", LONG_S) },
  "`Mutex#synchronize`" => -> { hold(Mutex.new) },
  "`Monitor#synchronize`" => -> { hold(Monitor.new) },
  "`Queue#pop`" => lambda do
    queue = Queue.new
    Async { sleep(LONG_S) && queue << 1 }
    queue.pop
  end,
  "`Thread#join`, `Thread#value`" => -> { Thread.new { sleep(LONG_S) }.join },
  "`Timeout.timeout`" => -> { Timeout.timeout(5) { sleep(LONG_S) } },
  "`system`, backticks, `Open3`" => -> { Open3.capture2("sleep", LONG_S.to_s) && system("sleep", LONG_S.to_s) && `sleep #{LONG_S}` },
  "`Concurrent::Promises`, `CountDownLatch`" => lambda do
    Concurrent::Promises.future { sleep(LONG_S) }.value!
    latch = Concurrent::CountDownLatch.new(1)
    Async { sleep(LONG_S) && latch.count_down }
    latch.wait
  end,
  "host names (DNS): Ruby's `Resolv`" => lambda do
    Resolv::DNS.new(nameserver_port: [["127.0.0.1", nameserver]], search: [], ndots: 1).getresource("x.test", Resolv::DNS::Resource::IN::A)
  end,
  "waiting inside `Enumerator#next`" => -> { Enumerator.new { |out| out << sleep(LONG_S) }.next },
  "opening a FIFO" => lambda do
    pid = spawn("sleep #{LONG_S}; echo x > #{fifo}")
    File.open(fifo, &:read)
    Process.wait(pid)
  end,
  "`Thread.stop`" => lambda do
    this = Thread.current
    later { this.wakeup }
    Thread.stop
  end,
  "`Ractor#take`" => -> { Ractor.new { sleep(0.25) }.take },
  "computing in Ruby" => -> { compute },
  "`OpenSSL`, `Zlib`, bcrypt, image libraries" => -> { OpenSSL::KDF.pbkdf2_hmac("x", salt: "salt", iterations: 2_500_000, length: 32, hash: "SHA256") },
  "reading and writing files" => -> { File.open(big) { |file| buffer = +"" and (nil while file.read(10_000_000, buffer)) } },
  "`File#flock`" => lambda do
    pid = spawn("flock", flocked, "sleep", LONG_S.to_s)
    sleep(0.1)
    File.open(flocked) { |file| file.flock(File::LOCK_EX) }
    Process.wait(pid)
  end,
  "`sqlite3`, a query" => lambda do
    SQLite3::Database.new(":memory:").execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n")
  end,
  "`sqlite3`, waiting for a lock: `timeout:` of Rails up to 7.2" => -> { lock_database(database, ->(waiter) { waiter.busy_timeout(300) }) },
  "`sqlite3`, waiting for a lock: `busy_handler_timeout` (Rails 8)" => -> { lock_database(database, ->(waiter) { waiter.busy_handler_timeout = 5_000 }) },
}.freeze

# The longest while, in seconds, in which a neighbour that wants to run every 5 ms could not.
def longest_silence
  silence = 0.0
  last = now
  neighbour = Async(transient: true) do
    while true
      sleep(0.005)
      silence = [silence, now - last].max
      last = now
    end
  end
  yield
  sleep(0.01)
  neighbour.stop
  silence
end

Sync do
  ACTIONS.each do |name, action|
    silence = Async { longest_silence { action.call } }.wait
    puts "#{silence < 0.1 ? "yields" : "blocks"}\t#{name}"
  end
end

ActiveSupport::IsolatedExecutionState.isolation_level = :fiber
I18n.available_locales = %i[en de]
LOCALES = %i[en de].freeze
ZONES = %w[UTC Berlin].freeze

class Current < ActiveSupport::CurrentAttributes
  attribute :place
end

Thread.attr_accessor :place

PLACES = {
  "`Thread.current[:name]`" => [->(value) { Thread.current[:place] = value }, -> { Thread.current[:place] }],
  "`Thread.current.thread_variable_get`" => [
    ->(value) { Thread.current.thread_variable_set(:place, value) }, -> { Thread.current.thread_variable_get(:place) },
  ],
  "instance variables of a `Thread`, as by `Thread.attr_accessor`" => [->(value) { Thread.current.place = value }, -> { Thread.current.place }],
  "`Fiber[:name]`" => [->(value) { Fiber[:place] = value }, -> { Fiber[:place] }],
  "`Concurrent::ThreadLocalVar`" => (var = Concurrent::ThreadLocalVar.new) && [->(value) { var.value = value }, -> { var.value }],
  "`Concurrent::FiberLocalVar`" => (own = Concurrent::FiberLocalVar.new) && [->(value) { own.value = value }, -> { own.value }],
  "`ActiveSupport::CurrentAttributes`" => [->(value) { Current.place = value }, -> { Current.place }],
  "`I18n.locale`" => [->(value) { I18n.locale = LOCALES[value] }, -> { LOCALES.index(I18n.locale) }],
  "`Time.zone`" => [->(value) { Time.zone = ZONES[value] }, -> { ZONES.index(Time.zone.name) }],
}.freeze

Sync do
  Current.place = 1
  inside = [Enumerator.new { |out| out << Current.place }.next, Fiber.new { Current.place }.resume, Async { Current.place }.wait]
  puts "#{inside.any? ? "kept" : "lost"}\t`Current` and the transaction, inside `Enumerator#next`, `Fiber.new`, `Async`"

  tasks = %w[/ /usr].map { |folder| Async { Dir.chdir(folder) { sleep(0.01) && Dir.pwd == folder } } }
  puts "#{tasks.all?(&:wait) ? "own" : "shared"}\tthe folder of `Dir.chdir { }`"

  began = now
  this = Thread.current
  waker = Thread.new { sleep(0.05) && this.wakeup }
  sleep(LONG_S)
  waker.join
  puts "#{now - began < LONG_S / 2 ? "works" : "ignored"}\t`Thread#wakeup` of a job that sleeps"

  reader, writer = IO.pipe
  later { writer.write("x") }
  read = begin
    reader.sysread(1)
  rescue Errno::EAGAIN
    nil
  end
  puts "#{read ? "works" : "fails"}\t`IO#sysread`"
end

# As the fibers of the lane do.
Sync do
  Gokiq::Sidecar::ThreadVariables.install

  PLACES.each do |name, (write, read)|
    tasks = Array.new(2) do |index|
      Async do
        Gokiq::Sidecar::ThreadVariables.own
        write.call(index)
        sleep(0.01)
        read.call == index
      end
    end
    puts "#{tasks.all?(&:wait) ? "own" : "shared"}\t#{name}"
  end
end
