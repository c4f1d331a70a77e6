-- Give claims of a dead owner back to the tail of their queue, the oldest last so that it runs first.
--
-- KEYS  1 gokiq:leases   2 gokiq:lease:ID (releases before 1.0)   3 claims hash of one queue   4 that queue's list
-- ARGV  1 identity of the dead owner
--       2 its lease as it was seen for too long; empty when it had none
--       3 1 = its death is proved, whatever its lease
--       4, 5 most claims, and most bytes of payloads, to move in this call: Redis serves nobody else meanwhile
-- Reply {{payload, ...}, left}; {false, left} when the owner has renewed its lease
--
-- It takes the lease away before it moves anything: an owner that comes back claims nothing until it has renewed.

local lease = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if ARGV[3] ~= '1' and (lease ~= ARGV[2] or (lease == '' and redis.call('EXISTS', KEYS[2]) == 1)) then
  return { false, redis.call('HLEN', KEYS[3]) }
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])

local numbers = redis.call('HKEYS', KEYS[3])
table.sort(numbers, function(a, b) return tonumber(a) > tonumber(b) end)
local most, bytes = math.min(#numbers, tonumber(ARGV[4])), tonumber(ARGV[5])
local moved = {}
while #moved < most and bytes > 0 do
  local number = numbers[#moved + 1]
  local payload = redis.call('HGET', KEYS[3], number)
  bytes = bytes - #payload
  redis.call('RPUSH', KEYS[4], payload)
  redis.call('HDEL', KEYS[3], number)
  moved[#moved + 1] = payload
end
return { moved, #numbers - #moved }
