-- Renew this owner's lease and its entry in the register.
--
-- KEYS  1 gokiq:lease:ID, which releases before 1.0 look at   2 gokiq:leases (hash identity -> 'epoch time')
--       3 gokiq:owners (hash identity -> JSON about the owner: host, pid, queues, ...)
-- ARGV  1 TTL of the first, ms   2 identity   3 JSON about the owner   4 epoch
-- Reply 1 when the lease was still there, 0 when it was not (a peer has adopted claims meanwhile)
--
-- The lease has no TTL: no eviction policy but `allkeys-*` can take it, and no step of Redis's clock ends it. Its time is that
-- of Redis, in µs, so that each renewal makes another value: who sees one value for long enough knows that nobody renews.
-- A renewal that the network held back does not lower the epoch.
--
-- PEXPIRE comes first, which a Redis that is full (maxmemory) lets pass; what follows in the same script passes too. So an
-- owner that lives keeps its lease while others' writes are refused.

if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
local before = redis.call('HGET', KEYS[2], ARGV[2])
local epoch = math.max(tonumber(ARGV[4]), before and tonumber(string.match(before, '^%d+')) or 0)
local time = redis.call('TIME')
redis.call('HSET', KEYS[2], ARGV[2], string.format('%d %s%06d', epoch, time[1], time[2]))
if redis.call('HGET', KEYS[3], ARGV[2]) ~= ARGV[3] then redis.call('HSET', KEYS[3], ARGV[2], ARGV[3]) end
return before and 1 or 0
