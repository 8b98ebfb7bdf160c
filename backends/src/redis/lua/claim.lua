-- Remembers a value unless there is one, and returns the one that is there now.
-- KEYS  claim    ARGV  value, milliseconds
local have = redis.call('GET', KEYS[1])
if have then return have end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
