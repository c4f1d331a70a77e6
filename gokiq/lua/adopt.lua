-- Give claims of a dead owner back to the tail of their queue, the oldest last so that it runs first.
--
-- KEYS  1 lease of the dead owner   2 its claims hash of one queue   3 that queue's list
-- ARGV  1 most claims to move in this call (bounds the time Redis is blocked)
--       2 1 = its death is proved, ignore the lease
-- Reply {{payload, ...}, left}; {false, left} when the owner has a lease again

if redis.call('EXISTS', KEYS[1]) == 1 and ARGV[2] ~= '1' then
  return { false, redis.call('HLEN', KEYS[2]) }
end
local numbers = redis.call('HKEYS', KEYS[2])
table.sort(numbers, function(a, b) return tonumber(a) > tonumber(b) end)
local moved = {}
for i = 1, math.min(#numbers, tonumber(ARGV[1])) do
  moved[i] = redis.call('HGET', KEYS[2], numbers[i])
  redis.call('RPUSH', KEYS[3], moved[i])
  redis.call('HDEL', KEYS[2], numbers[i])
end
return { moved, #numbers - #moved }
