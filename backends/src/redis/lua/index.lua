-- Puts lines into a project's index and takes out some that are over.
-- KEYS  the lines in order, the lines by the instant when they are over
-- ARGV  now, then line and instant of each
local lines, over = KEYS[1], KEYS[2]
local changed = false
for n = 2, #ARGV, 2 do
  local line, expires = ARGV[n], ARGV[n + 1]
  local have = redis.call('ZSCORE', over, line)
  if not have or tonumber(expires) > tonumber(have) then
    redis.call('ZADD', lines, 0, line)
    redis.call('ZADD', over, expires, line)
    changed = true
  end
end
local gone = redis.call('ZRANGEBYSCORE', over, '-inf', ARGV[1], 'LIMIT', 0, 100)
if #gone > 0 then
  redis.call('ZREM', lines, unpack(gone))
  redis.call('ZREM', over, unpack(gone))
end
if changed then
  local last = redis.call('ZREVRANGE', over, 0, 0, 'WITHSCORES')[2]
  if last then
    redis.call('PEXPIREAT', lines, last)
    redis.call('PEXPIREAT', over, last)
  end
end
return #gone
