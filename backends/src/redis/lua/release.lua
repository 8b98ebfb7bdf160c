-- Takes a key from a holder that holds it exactly so.
-- KEYS  the key's holders    ARGV  run, hold
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
