-- Reads a partition and some of its records in one step.
-- KEYS  position, then jobs
local found = {redis.call('HGETALL', KEYS[1])}
for n = 2, #KEYS do
  found[n] = redis.call('HMGET', KEYS[n], 'w', 's', 'c', 'b', 'f', 't')
end
return found
