-- Reads a partition and some of its records in one step.
-- KEYS  position, then jobs    ARGV  1 to say which server answers, in the field r
local state = redis.call('HGETALL', KEYS[1])
if ARGV[1] == '1' then
  state[#state + 1] = 'r'
  state[#state + 1] = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end
local found = {state}
for n = 2, #KEYS do
  found[n] = redis.call('HMGET', KEYS[n], 'w', 's', 'c', 'b', 'f', 't', 'x')
end
return found
