-- Has ended records forgotten earlier, those first that would be forgotten first.
-- KEYS  ended, position
-- ARGV  the latest instant of those that may be taken, the new instant, most of them,
--       what the keys of records, histories and lines begin with
local ended, position = KEYS[1], KEYS[2]
local latest, at, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
-- A full Redis takes this write, and then those that come after it in the same script.
redis.call('ZREMRANGEBYSCORE', ended, '-inf', now)
local take = math.min(math.ceil(redis.call('ZCARD', ended) / 8), most)
local jobs = redis.call('ZRANGEBYSCORE', ended, '(' .. at, latest, 'LIMIT', 0, take)
local drawn = 0
for _, job in ipairs(jobs) do
  if redis.call('EXISTS', ARGV[4] .. job) == 1 then
    redis.call('HSET', ARGV[4] .. job, 'x', at)
    redis.call('PEXPIREAT', ARGV[4] .. job, at)
    redis.call('ZADD', ended, at, job)
  else
    redis.call('ZREM', ended, job)
  end
  redis.call('PEXPIREAT', ARGV[5] .. job, at)
  redis.call('PEXPIREAT', ARGV[6] .. job, at)
  -- An id of version 7 begins with when it was drawn.
  if string.sub(job, 15, 15) == '7' then
    local ms = tonumber(string.sub(job, 1, 8) .. string.sub(job, 10, 13), 16)
    if ms > drawn then drawn = ms end
  end
end
local before = tonumber(redis.call('HGET', position, 'e') or '0')
if drawn > before then redis.call('HSET', position, 'e', string.format('%.0f', drawn)) end
return #jobs
