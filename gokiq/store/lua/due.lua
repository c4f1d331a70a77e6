-- Read the members of a sorted set that are due by Redis's own clock. With a lease they are not due again for so long:
-- whoever decides on them outside of Redis has that time, and if it dies they come up again.
--
-- KEYS  1 retry or schedule   ARGV  1 most members   2 lease in seconds, 0 = none, nothing changes
-- Reply {now as text in seconds, {member, ...}}  earliest first

local now = redis.call('TIME')
local fraction = '.' .. string.format('%06d', tonumber(now[2]))
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now[1] .. fraction, 'LIMIT', 0, ARGV[1])
if ARGV[2] ~= '0' then
  local later = string.format('%d', now[1] + ARGV[2]) .. fraction
  for _, member in ipairs(members) do
    redis.call('ZADD', KEYS[1], later, member)
  end
end
return { now[1] .. fraction, members }
