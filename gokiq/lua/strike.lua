-- Strike a dead owner from the register once its claims have been given back.
--
-- KEYS  1 lease of the dead owner   2 gokiq:owners   then its claims hashes
-- ARGV  1 identity   2 1 = its death is proved, ignore the lease
-- Reply 1; 0 when it has a lease or claims again: it lives, and who comes after its death must know of it

if ARGV[2] ~= '1' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 0 end
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1
