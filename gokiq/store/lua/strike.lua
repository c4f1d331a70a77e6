-- Strike a dead owner from the register once its claims have been given back.
--
-- KEYS  1 gokiq:leases   2 gokiq:lease:ID (releases before 1.0)   3 gokiq:owners   then its claims hashes
-- ARGV  1 identity   2 its lease as it was seen for too long, empty when it had none or adopt.lua has taken it
--       3 1 = its death is proved, whatever its lease
-- Reply 1; 0 when it has renewed or claims again: it lives, and who comes after its death must know of it

local lease = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if ARGV[3] ~= '1' and (lease ~= ARGV[2] or (lease == '' and redis.call('EXISTS', KEYS[2]) == 1)) then return 0 end
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 0 end
end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1
