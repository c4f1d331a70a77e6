-- Remember that jobs were in a worker that died.
--
-- KEYS  1 gokiq:crashes (hash job -> 'crashes alone at')
-- ARGV  1 window in seconds   2 1 = alone   3... jobs
-- Reply {record, ...} in the order of the jobs

local now = tonumber(redis.call('TIME')[1])
local window = tonumber(ARGV[1])
local records = {}
for i = 3, #ARGV do
  local before = redis.call('HGET', KEYS[1], ARGV[i])
  local crashes = 0
  if before then
    local count, at = string.match(before, '^(%d+) %d (%d+)$')
    if count and tonumber(at) >= now - window then crashes = tonumber(count) end
  end
  local record = string.format('%d %s %d', crashes + 1, ARGV[2], now)
  redis.call('HSET', KEYS[1], ARGV[i], record)
  records[#records + 1] = record
end
if #records > 0 then redis.call('EXPIRE', KEYS[1], window) end
return records
