-- Writes what facts say about the runs of one project, in the order of the log.
-- KEYS  active runs by expiry, ended runs by when that is forgotten, then holders of keys
-- ARGV  now ms, time ms for which an end is remembered, then for each fact: what it says (l: live,
--       e: ended, m: made), run, at ms, expires ms, and three lists, each a number and as many
--       numbers of keys: those that the run holds, those that it keeps, those that it frees
local active, ended = KEYS[1], KEYS[2]
local now, remember = tonumber(ARGV[1]), tonumber(ARGV[2])
local function keep(key, expires)
  if redis.call('PTTL', key) < tonumber(expires) - now then redis.call('PEXPIREAT', key, expires) end
end
redis.call('ZREMRANGEBYSCORE', active, '-inf', now)
redis.call('ZREMRANGEBYSCORE', ended, '-inf', now)
local n = 3
local function list()
  local keys = {}
  for k = 1, tonumber(ARGV[n]) do keys[k] = KEYS[3 + tonumber(ARGV[n + k])] end
  n = n + 1 + #keys
  return keys
end
while n <= #ARGV do
  local what, run, at, expires = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]
  n = n + 4
  local holds, keeps, frees = list(), list(), list()
  if what == 'l' then
    if not redis.call('ZSCORE', ended, run) then
      redis.call('ZADD', active, expires, run)
      keep(active, expires)
      for _, key in ipairs(holds) do
        local have = redis.call('HGET', key, run)
        local since = have and string.match(have, '^%a (%d+)') or string.format('%.0f', now)
        redis.call('HSET', key, run, 'l ' .. since .. ' ' .. expires)
        keep(key, expires)
      end
    end
  else
    redis.call('ZREM', active, run)
    redis.call('ZADD', ended, now + remember, run)
    redis.call('PEXPIRE', ended, remember)
    for _, key in ipairs(holds) do redis.call('HDEL', key, run) end
  end
  if what == 'm' and tonumber(expires) > now then
    for _, key in ipairs(keeps) do
      local freed = redis.call('HGET', key, 'freed')
      freed = freed and tonumber(string.match(freed, '^f (%d+)'))
      if not freed or freed < tonumber(at) then
        redis.call('HSET', key, run, 'm ' .. at .. ' ' .. expires)
        keep(key, expires)
      end
    end
    for _, key in ipairs(frees) do
      local freed = redis.call('HGET', key, 'freed')
      freed = freed and tonumber(string.match(freed, '^f (%d+)'))
      if not freed or freed < tonumber(at) then
        redis.call('HSET', key, 'freed', 'f ' .. at .. ' ' .. expires)
        keep(key, expires)
      end
      local holders = redis.call('HGETALL', key)
      for h = 1, #holders, 2 do
        local since = string.match(holders[h + 1], '^m (%d+)')
        if since and tonumber(since) <= tonumber(at) then redis.call('HDEL', key, holders[h]) end
      end
    end
  end
end
return 1
