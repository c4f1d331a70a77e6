-- Move due members of a sorted set to their queues. Each moves only if it is still in the set, so that several
-- orchestrators and real Sidekiq pollers never enqueue one member twice, and none is ever in neither place.
--
-- KEYS  1 retry or schedule   2 queues   3 dead
-- ARGV  repeated: member, queue, payload to enqueue; an empty queue sends the member to dead at score `payload`
-- Reply the number of members moved

local moved = 0
for i = 1, #ARGV, 3 do
  local member, queue, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('ZSCORE', KEYS[1], member) then
    if queue == '' then
      redis.call('ZADD', KEYS[3], payload, member)
    else
      redis.call('SADD', KEYS[2], queue)
      redis.call('LPUSH', 'queue:' .. queue, payload)
    end
    redis.call('ZREM', KEYS[1], member)
    moved = moved + 1
  end
end
return moved
