-- Settle finished jobs and claim new ones, in one atomic step.
--
-- KEYS  1 gokiq:leases                5 stat:failed
--       2 retry                       6 stat:processed:DAY
--       3 dead                        7 stat:failed:DAY
--       4 stat:processed
--       then for each route r = 1..R:  claims hash (6+2r), queue list (7+2r)
-- ARGV  1 R                            4 dead_max_jobs
--       2 number of the first claim    5 TTL of the day counters, s
--       3 oldest score kept in dead    6 bytes of jobs that a group takes, one job at least
--                                      7 identity of this owner
--                                      8 its epoch
--       then, in this order:
--       for each route: n, then n claim numbers that ended well (one processed each)
--       S, then S times: op, route, number, processed, failed, score, payload
--         op 0 release; 1 to retry; 2 to dead; 3 back to the tail of the queue, unchanged
--         an empty payload stands for the bytes of the claim itself
--       0, or 1 and what lua/guards.lua reads: claims are guarded
--       G, then G times: want, E, then E times: route, most
--         a group (capsule) takes up to `want` jobs, entry by entry, up to `most` from each
-- Reply {lease held, and of this epoch, 0/1, outcomes dropped because the claim was no longer held,
--        error text or '', {numbers of special outcomes that could not be written},
--        {ordinals of groups that took no more because of their bytes},
--        {payloads of entry 1}, {payloads of entry 2}, ...}  oldest job first; of an entry whose jobs were chosen
--        the ordinals of those taken, and, negative, of those that are gone
--       behind them, if claims are guarded, what the guards say
--
-- An owner raises its epoch before it looks at what it holds. A call with an older one comes late, for it was held up by the
-- network until its owner had given it up: it settles, under the fence as ever, and claims nothing, for nobody would know.
--
-- A claim is written before its job leaves the list, and an outcome before its claim is released: if Redis refuses a
-- write half-way (maxmemory), the job is still in one place at least.

local R = tonumber(ARGV[1])
local number = tonumber(ARGV[2])
local dead_floor, dead_max, day_ttl = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local budget = tonumber(ARGV[6])
local at = 9
local CHUNK = 1000 -- unpack() must stay far below Lua's stack limit

local function claims_of(r) return KEYS[6 + 2 * r] end
local function queue_of(r) return KEYS[7 + 2 * r] end

local processed, failed, dropped = 0, 0, 0
local refusal, unwritten = '', {}

for r = 1, R do
  local n = tonumber(ARGV[at])
  local first, last = at + 1, at + n
  while first <= last do
    local stop = math.min(first + CHUNK - 1, last)
    local held = redis.call('HDEL', claims_of(r), unpack(ARGV, first, stop))
    processed = processed + held
    dropped = dropped + (stop - first + 1 - held)
    first = stop + 1
  end
  at = last + 1
end

local function store(op, r, claim, score, payload)
  if op == 0 then return nil end
  if payload == '' then payload = claim end
  if op == 3 then return redis.pcall('RPUSH', queue_of(r), payload) end
  return redis.pcall('ZADD', op == 1 and KEYS[2] or KEYS[3], score, payload)
end

local deaths = 0
local S = tonumber(ARGV[at])
at = at + 1
for _ = 1, S do
  local op, r, field = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  local claim = redis.call('HGET', claims_of(r), field)
  if not claim then
    dropped = dropped + 1
  else
    local answer = store(op, r, claim, ARGV[at + 5], ARGV[at + 6])
    if type(answer) == 'table' and answer.err then
      refusal = answer.err
      unwritten[#unwritten + 1] = tonumber(field)
    else
      redis.call('HDEL', claims_of(r), field)
      processed = processed + tonumber(ARGV[at + 3])
      failed = failed + tonumber(ARGV[at + 4])
      if op == 2 then deaths = deaths + 1 end
    end
  end
  at = at + 7
end

if deaths > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', dead_floor)
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -dead_max)
end

local function count(total, day, by)
  if by == 0 then return end
  redis.pcall('INCRBY', total, by)
  if redis.pcall('INCRBY', day, by) == by then redis.call('EXPIRE', day, day_ttl) end
end
count(KEYS[4], KEYS[6], processed)
count(KEYS[5], KEYS[7], failed)

local lease = redis.call('HGET', KEYS[1], ARGV[7])
local is_held = lease and string.match(lease, '^%d+') == ARGV[8]
local is_late = lease and not is_held
local cut_groups = {}
local reply = { is_held and 1 or 0, dropped, refusal, unwritten, cut_groups }
local open = is_held and refusal == ''

-- Of the current group: bytes that it may still take, whether it has taken any, and whether that was all for now.
local bytes_left, has_taken, is_cut = 0, false, false
local FIRST_PIECE, GROWTH = 4, 8

-- The oldest jobs of a queue, up to `most`, as far as the bytes go. Read in pieces, for their size is not known before.
local function oldest(queue, most)
  local jobs, n, piece, before = {}, 0, FIRST_PIECE, bytes_left
  while n < most do
    local asked = math.min(piece, most - n)
    local found = redis.pcall('LRANGE', queue, -n - asked, -n - 1)
    if found.err then return jobs, found.err end
    for i = #found, 1, -1 do
      local size = #found[i]
      if size > bytes_left and has_taken then
        is_cut = true
        return jobs
      end
      bytes_left = bytes_left - size
      has_taken = true
      n = n + 1
      jobs[n] = found[i]
    end
    if #found < asked then return jobs end
    local mean = (before - bytes_left) / n
    piece = math.max(math.min(piece * GROWTH, math.floor(bytes_left / mean)), 1)
  end
  return jobs
end

local function take(r, most)
  local queue = queue_of(r)
  local jobs, err = oldest(queue, most)
  if err then
    -- Not a list. To end here would hide the claims of the entries before it.
    refusal = queue .. ': ' .. err
    reply[3] = refusal
    open = false
    return {}
  end
  local n = #jobs
  if n == 0 then return jobs end
  local pairs_ = {}
  local from = 1
  for i = 1, n do
    pairs_[#pairs_ + 1] = number + i - 1
    pairs_[#pairs_ + 1] = jobs[i]
    if #pairs_ == 2 * CHUNK or i == n then
      local answer = redis.pcall('HSET', claims_of(r), unpack(pairs_))
      if type(answer) == 'table' and answer.err then
        refusal = answer.err
        reply[3] = refusal
        open = false
        for k = n, from, -1 do jobs[k] = nil end
        break
      end
      pairs_ = {}
      from = i + 1
    end
  end
  local claimed = #jobs
  if claimed > 0 then redis.call('LTRIM', queue, 0, -claimed - 1) end
  number = number + claimed
  return jobs
end

local is_guarded = ARGV[at] == '1'
at = at + 1
if is_guarded then at = read_guards(at, 8 + 2 * R) end

local function admit(gate)
  if admitted(gate, 1) < 1 then return false end
  consume(gate, 1)
  return true
end

-- Those that were chosen; returns ordinals, negative for jobs that are gone, and how many were taken.
local function take_chosen(step, r, most)
  local taken, gone, err = pick(queue_of(r), claims_of(r), number, ARGV, step.first, step.count, most, admit)
  if err then
    refusal = err
    reply[3] = refusal
    open = false
  end
  local count = #taken
  number = number + count
  for i = 1, count do bytes_left = bytes_left - #ARGV[step.first + 2 * taken[i] - 1] end
  has_taken = has_taken or count > 0
  is_cut = bytes_left <= 0
  for i = 1, #gone do taken[count + i] = -gone[i] end
  return taken, count
end

local function take_guarded(step, r, most)
  local jobs, count = {}, 0
  most = admitted(step.gate, most)
  if most > 0 and step.count >= 0 then
    jobs, count = take_chosen(step, r, most)
  elseif most > 0 then
    jobs = take(r, most)
    count = #jobs
  end
  consume(step.gate, count)
  return jobs, count
end

local G = tonumber(ARGV[at])
local step = 0
at = at + 1
for group = 1, G do
  local want, E = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  at = at + 2
  bytes_left, has_taken, is_cut = budget, false, false
  for _ = 1, E do
    local jobs = {}
    step = step + 1
    if open and want > 0 and not is_cut then
      local r, most = tonumber(ARGV[at]), math.min(want, tonumber(ARGV[at + 1]))
      local count
      if is_guarded then
        jobs, count = take_guarded(guarded_steps[step], r, most)
      else
        jobs = take(r, most)
        count = #jobs
      end
      want = want - count
    end
    reply[#reply + 1] = jobs
    at = at + 2
  end
  if is_cut then cut_groups[#cut_groups + 1] = group end
end

if is_guarded then reply[#reply + 1] = write_guards(is_late) end
return reply
