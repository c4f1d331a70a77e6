-- Guards of a claim: how many jobs they admit (gokiq/limits/guards.py). Functions alone; settle_claim.lua calls them.
--
-- ARGV from `at` on: identity of this owner
--   N, then N times: kind, first, second
--     room     so many more in this call; -
--     permits  most at once over all owners; how many this owner has (without what it claims now)
--     bucket   microseconds between two tokens; tokens it holds
--     window   its length in microseconds; jobs in each
--     sliding  a length in microseconds; jobs in any stretch of it
--   M, then M times: n, then n numbers of guards: a gate
--   S, then S times: gate of the step (0: none), C, then C times: gate of the job (0: none), payload
--     C = -1: the step takes the oldest jobs of its queue, whichever they are
-- KEYS: those of the guards that have one (all but room), in their order, behind all others
--   permits: hash owner -> jobs. An owner without a lease holds none: who adopts takes it away
--   bucket: the time at which the next token would come to a full one (GCRA), microseconds since the epoch
--   window: number of the window and jobs in it, N:USED
--   sliding: list, the newest first: when jobs started (microseconds since the epoch), how many, and how many in all by
--     then, TIME:JOBS:NUMBER. The jobs in a stretch are a difference of two numbers, so that no list is ever summed up

local guards, gates, guarded_steps = {}, {}, {}
local owner

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function has_lease(of)
  return redis.call('HEXISTS', 'gokiq:leases', of) == 1 or redis.call('EXISTS', 'gokiq:lease:' .. of) == 1
end

local reads = {}

function reads.room(guard)
  guard.room = guard.first
end

function reads.permits(guard)
  local all = redis.call('HGETALL', guard.key)
  guard.others = 0
  for i = 1, #all, 2 do
    if all[i] == owner then
      guard.written = tonumber(all[i + 1])
    elseif has_lease(all[i]) then
      guard.others = guard.others + tonumber(all[i + 1])
    else
      redis.call('HDEL', guard.key, all[i])
    end
  end
  guard.room = guard.first - guard.others - guard.second
end

function reads.bucket(guard)
  guard.now = now_us()
  guard.full_at = math.max(tonumber(redis.call('GET', guard.key) or 0), guard.now)
  guard.room = math.floor(guard.second - (guard.full_at - guard.now) / guard.first + 1e-6)
end

function reads.window(guard)
  guard.now = now_us()
  guard.number = math.floor(guard.now / guard.first)
  local number, used = string.match(redis.call('GET', guard.key) or '', '^(%d+):(%d+)$')
  guard.used = tonumber(number) == guard.number and tonumber(used) or 0
  guard.room = guard.second - guard.used
end

local function started(entry)
  local time, jobs, number = string.match(entry or '', '^(%d+):(%d+):(%d+)$')
  return tonumber(time), tonumber(jobs), tonumber(number)
end

-- What began before the stretch that ends now is forgotten.
function reads.sliding(guard)
  guard.now = now_us()
  guard.used, guard.number = 0, 0
  local oldest, jobs, number = started(redis.call('LINDEX', guard.key, -1))
  while oldest and oldest <= guard.now - guard.first do
    redis.call('RPOP', guard.key)
    oldest, jobs, number = started(redis.call('LINDEX', guard.key, -1))
  end
  if oldest then
    local _, _, newest = started(redis.call('LINDEX', guard.key, 0))
    guard.oldest, guard.number = oldest, newest
    guard.used = newest - number + jobs
  end
  guard.room = guard.second - guard.used
end

local writes = {}

function writes.room() end

function writes.permits(guard)
  local has = guard.second + guard.taken
  guard.has = has
  if has == (guard.written or 0) then return end
  if has == 0 then redis.call('HDEL', guard.key, owner) end
  if has > 0 then redis.pcall('HSET', guard.key, owner, has) end
end

function writes.bucket(guard)
  if guard.room <= 0 then
    guard.wait = guard.full_at + (guard.taken - guard.second + 1) * guard.first - guard.now
  end
  if guard.taken == 0 then return end
  local full_at = guard.full_at + guard.taken * guard.first
  redis.pcall('SET', guard.key, string.format('%.2f', full_at), 'PX', math.ceil((full_at - guard.now) / 1000) + 1)
end

function writes.window(guard)
  local ends_in = (guard.number + 1) * guard.first - guard.now
  if guard.room <= 0 then guard.wait = ends_in end
  if guard.taken == 0 then return end
  local text = string.format('%.0f:%d', guard.number, guard.used + guard.taken)
  redis.pcall('SET', guard.key, text, 'PX', math.ceil(ends_in / 1000) + 1)
end

function writes.sliding(guard)
  if guard.room <= 0 then guard.wait = (guard.oldest or guard.now) + guard.first - guard.now end
  if guard.taken == 0 then return end
  redis.pcall('LPUSH', guard.key, string.format('%.0f:%d:%.0f', guard.now, guard.taken, guard.number + guard.taken))
  redis.pcall('PEXPIRE', guard.key, math.ceil(guard.first / 1000) + 1)
end

-- Returns where ARGV goes on.
local function read_guards(at, key)
  owner = ARGV[at]
  local n = tonumber(ARGV[at + 1])
  at = at + 2
  for i = 1, n do
    local guard = { kind = ARGV[at], first = tonumber(ARGV[at + 1]), second = tonumber(ARGV[at + 2]), taken = 0 }
    if guard.kind ~= 'room' then
      guard.key = KEYS[key]
      key = key + 1
    end
    reads[guard.kind](guard)
    guards[i] = guard
    at = at + 3
  end
  n = tonumber(ARGV[at])
  at = at + 1
  for i = 1, n do
    local gate = {}
    for j = 1, tonumber(ARGV[at]) do gate[j] = guards[tonumber(ARGV[at + j])] end
    gates[i] = gate
    at = at + #gate + 1
  end
  n = tonumber(ARGV[at])
  at = at + 1
  for i = 1, n do
    local count = tonumber(ARGV[at + 1])
    guarded_steps[i] = { gate = tonumber(ARGV[at]), first = at + 2, count = count }
    at = at + 2 + 2 * math.max(count, 0)
  end
  return at
end

-- How many of `most` jobs a gate admits.
local function admitted(number, most)
  local gate = gates[number]
  if not gate then return most end
  for i = 1, #gate do most = math.min(most, gate[i].room) end
  return math.max(most, 0)
end

local function consume(number, jobs)
  local gate = gates[number]
  if not gate then return end
  for i = 1, #gate do
    gate[i].room = gate[i].room - jobs
    gate[i].taken = gate[i].taken + jobs
  end
end

-- Writes what was taken; four numbers of each guard: jobs that it would still admit, microseconds until it admits one
-- more (0 unless it is a rate without room), jobs of other owners, and of this one. A late call writes nothing: what it
-- says of its owner is old.
local function write_guards(is_late)
  local said = {}
  for i = 1, #guards do
    local guard = guards[i]
    if not is_late then writes[guard.kind](guard) end
    said[4 * i - 3] = guard.room
    said[4 * i - 2] = math.ceil(guard.wait or 0)
    said[4 * i - 1] = guard.others or 0
    said[4 * i] = guard.has or 0
  end
  return said
end
