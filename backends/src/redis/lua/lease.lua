-- Takes, renews or gives back a lease. Returns 1 if the reader has it now.
-- KEYS  lease    ARGV  reader, milliseconds (0 gives back)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
-- A full Redis takes this write, and then the next one.
redis.call('DEL', KEYS[1])
if ARGV[2] == '0' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
