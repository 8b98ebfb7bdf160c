-- Takes a run out whose command was not published; a hold that the log has confirmed stays.
-- KEYS  active runs, then each key's holders    ARGV  run
redis.call('ZREM', KEYS[1], ARGV[1])
for n = 2, #KEYS do
  local hold = redis.call('HGET', KEYS[n], ARGV[1])
  if hold and string.sub(hold, 1, 1) == 't' then redis.call('HDEL', KEYS[n], ARGV[1]) end
end
return 1
