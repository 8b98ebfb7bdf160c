-- Reads a partition, one record of it and the record's history in one step.
-- KEYS  position, job, history
return {
  redis.call('HGETALL', KEYS[1]),
  redis.call('HMGET', KEYS[2], 'w', 's', 'c', 'b', 'f', 't'),
  redis.call('HGETALL', KEYS[3]),
}
