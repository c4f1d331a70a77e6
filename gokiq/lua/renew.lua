-- Renew this owner's lease and its entry in the register.
--
-- KEYS  1 lease of this owner   2 gokiq:owners (hash identity -> JSON about the owner: host, pid, queues, ...)
-- ARGV  1 TTL in ms   2 identity   3 JSON about the owner
-- Reply 1 when the lease was still there, 0 when it had run out (a peer may have adopted claims meanwhile)

local held = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return held
