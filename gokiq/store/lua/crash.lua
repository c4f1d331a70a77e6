-- Remember that jobs were in a worker that died.
--
-- KEYS  1 gokiq:crashes (hash job -> 'crashes alone at')
-- ARGV  1 window in seconds   2 1 = alone   3... jobs
-- Reply {record, ...} in the order of the jobs; one that is named twice was in one crash all the same

local MOST = 10000 -- everyone reads all of it every few seconds
local now = tonumber(redis.call('TIME')[1])
local window = tonumber(ARGV[1])
local records = {}

-- Room for these. Jobs that were in one crash only go, at random; those that are suspected stay.
local beyond = redis.call('HLEN', KEYS[1]) + #ARGV - 2 - MOST
if beyond > 0 then
  local drawn = redis.call('HRANDFIELD', KEYS[1], 2 * beyond, 'WITHVALUES')
  for i = 1, #drawn, 2 do
    if string.sub(drawn[i + 1], 1, 2) == '1 ' then redis.call('HDEL', KEYS[1], drawn[i]) end
  end
end

local noted = {}
for i = 3, #ARGV do
  local job = ARGV[i]
  if not noted[job] then
    local before = redis.call('HGET', KEYS[1], job)
    local crashes = 0
    if before then
      local count, at = string.match(before, '^(%d+) %d (%d+)$')
      if count and tonumber(at) >= now - window then crashes = tonumber(count) end
    end
    noted[job] = string.format('%d %s %d', crashes + 1, ARGV[2], now)
    redis.call('HSET', KEYS[1], job, noted[job])
  end
  records[#records + 1] = noted[job]
end
if #records > 0 then redis.call('EXPIRE', KEYS[1], window) end
return records
