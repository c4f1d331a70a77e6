-- Read the members of a sorted set that are due by Redis's own clock. Changes nothing.
--
-- KEYS  1 retry or schedule   ARGV  1 most members
-- Reply {now as text in seconds, {member, ...}}  earliest first

local now = redis.call('TIME')
local at = now[1] .. '.' .. string.format('%06d', tonumber(now[2]))
return { at, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at, 'LIMIT', 0, ARGV[1]) }
