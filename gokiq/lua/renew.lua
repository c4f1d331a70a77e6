-- Renew this owner's lease and its entry in the register.
--
-- KEYS  1 lease of this owner   2 gokiq:owners (hash identity -> JSON about the owner: host, pid, queues, ...)
-- ARGV  1 TTL in ms   2 identity   3 JSON about the owner
-- Reply 1 when the lease was still there, 0 when it had run out (a peer may have adopted claims meanwhile)
--
-- PEXPIRE comes first, which a Redis that is full (maxmemory) lets pass; what follows in the same script passes too. So an
-- owner that lives keeps its lease while others' writes are refused.

local held = redis.call('PEXPIRE', KEYS[1], ARGV[1])
if held == 0 then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] then redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) end
return held
