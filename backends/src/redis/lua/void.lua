-- Forgets a position, if it is the expected one.
-- KEYS  position    ARGV  offset, id
local stands = redis.call('HMGET', KEYS[1], 'o', 'i')
if stands[1] == ARGV[1] and stands[2] == ARGV[2] then
  return redis.call('HDEL', KEYS[1], 'o', 'i')
end
return 0
