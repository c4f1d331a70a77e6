-- Move due members of a sorted set to where they go. Each moves only if it is still in the set, so that several
-- orchestrators and real Sidekiq pollers never enqueue one member twice, and none is ever in neither place.
--
-- KEYS  1 retry or schedule   2 queues   3 dead   4 schedule
-- ARGV  repeated, four for each member: member, verb, where, payload
--         enqueue   where = queue    the payload is pushed
--         schedule  where = score    the payload is scheduled
--         dead      where = score    the member itself is kept, unchanged
--         drop
-- Reply the number of members moved
--
-- What is written comes before what is removed: a write that Redis refuses (memory full) ends the script, and nothing is lost.

local moved = 0
for i = 1, #ARGV, 4 do
  local member, verb, where, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('ZSCORE', KEYS[1], member) then
    local stays = false
    if verb == 'enqueue' then
      redis.call('SADD', KEYS[2], where)
      redis.call('LPUSH', 'queue:' .. where, payload)
    elseif verb == 'schedule' then
      redis.call('ZADD', KEYS[4], where, payload)
      stays = KEYS[1] == KEYS[4] and payload == member
    elseif verb == 'dead' then
      redis.call('ZADD', KEYS[3], where, member)
    end
    if not stays then
      redis.call('ZREM', KEYS[1], member)
    end
    moved = moved + 1
  end
end
return moved
