-- Move due members of a sorted set to where they go. Each moves only if it is still in the set, so that several
-- orchestrators and real Sidekiq pollers never enqueue one member twice, and none is ever in neither place.
--
-- KEYS  1 retry or schedule   2 queues   3 dead   4 schedule
-- ARGV  repeated, four for each member: member, verb, where, payload
--         enqueue   where = queue    the payload is pushed
--         schedule  where = score    the payload is scheduled
--         dead      where = score    the member itself is kept, unchanged
--         drop
-- Reply {members moved, error text or ''}
--
-- What is written comes before what is removed: a write that Redis refuses (memory full) ends the script, and nothing is lost.
-- A queue that is no list holds up its own jobs alone: they stay, and are due again in a minute.

local moved, problem = 0, ''
local later = tonumber(redis.call('TIME')[1]) + 60

local function put(verb, where, member, payload)
  if verb == 'enqueue' then
    local answer = redis.pcall('LPUSH', 'queue:' .. where, payload)
    if type(answer) == 'table' and answer.err then return answer.err end
    redis.call('SADD', KEYS[2], where)
  elseif verb == 'schedule' then
    redis.call('ZADD', KEYS[4], where, payload)
  elseif verb == 'dead' then
    redis.call('ZADD', KEYS[3], where, member)
  end
end

for i = 1, #ARGV, 4 do
  local member, verb, where, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('ZSCORE', KEYS[1], member) then
    local err = put(verb, where, member, payload)
    if err and not string.find(err, 'WRONGTYPE') then
      return redis.error_reply(err)
    elseif err then
      problem = 'queue:' .. where .. ': ' .. err
      redis.call('ZADD', KEYS[1], later, member)
    elseif not (verb == 'schedule' and KEYS[1] == KEYS[4] and payload == member) then
      redis.call('ZREM', KEYS[1], member)
    end
    if not err then moved = moved + 1 end
  end
end
return { moved, problem }
