-- Reads a partition, one record of it and the record's history in one step.
-- KEYS  position, job, history    ARGV  1 to say which server answers, in the field r
local state = redis.call('HGETALL', KEYS[1])
if ARGV[1] == '1' then
  state[#state + 1] = 'r'
  state[#state + 1] = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end
return {
  state,
  redis.call('HMGET', KEYS[2], 'w', 's', 'c', 'b', 'f', 't', 'x'),
  redis.call('HGETALL', KEYS[3]),
}
