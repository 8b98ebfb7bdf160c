-- Enters a run into its project, if limits and holders of its keys allow that.
-- KEYS  active runs by expiry, rate, then each key's holders
-- ARGV  run, job, expires ms, most active (0: any), interval us (0: any rate), quota, most live holders of
--       a key beside which it waits (0: it does not wait), then for each key 1 if it is to free what was
--       made under it
-- Returns a word (in, again, held, full, fast), active runs, microseconds until the rate is full,
-- then since when it holds its keys, in ms, or number of the key, run and hold of each other holder.
local active, rate = KEYS[1], KEYS[2]
local run, job, expires = ARGV[1], ARGV[2], ARGV[3]
local most, interval, quota = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local queue = tonumber(ARGV[7])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)
redis.call('ZREMRANGEBYSCORE', active, '-inf', now)
local fresh = not redis.call('ZSCORE', active, run)
local count = redis.call('ZCARD', active)
local full_at = math.max(tonumber(redis.call('GET', rate) or '0'), now_us)
local function answer(word)
  return {word, count, string.format('%.0f', full_at - now_us)}
end
if fresh and interval > 0 and math.ceil((full_at - now_us) / interval) >= quota then
  return answer('fast')
end
local held = answer('held')
for n = 3, #KEYS do
  local holders, others, live = redis.call('HGETALL', KEYS[n]), {}, 0
  for h = 1, #holders, 2 do
    local who, hold = holders[h], holders[h + 1]
    local over = tonumber(string.match(hold, '(%d+)$'))
    if over <= now then
      redis.call('HDEL', KEYS[n], who)
    elseif ARGV[n + 5] == '1' and string.sub(hold, 1, 1) == 'm' then
      -- No obstacle.
    elseif who ~= 'freed' and string.sub(who, 1, #job + 1) ~= job .. ':' then
      if string.sub(hold, 1, 1) ~= 'm' then live = live + 1 end
      others[#others + 1] = n - 3
      others[#others + 1] = who
      others[#others + 1] = hold
    end
  end
  if live == 0 or live >= queue then
    for _, part in ipairs(others) do held[#held + 1] = part end
  end
end
if #held > 3 then return held end
if fresh and most > 0 and count >= most then return answer('full') end
redis.call('ZADD', active, expires, run)
local last = redis.call('ZREVRANGE', active, 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', active, string.format('%.0f', tonumber(last)))
-- Later than any entrance of the same run before it.
local since, holds = now, {}
for n = 3, #KEYS do
  local hold = redis.call('HGET', KEYS[n], run)
  local taken = hold and string.match(hold, '^t (%d+)')
  if taken then since = math.max(since, tonumber(taken) + 1) end
  holds[n] = hold and not taken
end
for n = 3, #KEYS do
  if not holds[n] then
    redis.call('HSET', KEYS[n], run, string.format('t %.0f %s', since, expires))
  end
  local left = redis.call('PTTL', KEYS[n])
  if left < tonumber(expires) - now then redis.call('PEXPIREAT', KEYS[n], expires) end
end
local function entered(word)
  local told = answer(word)
  told[4] = string.format('%.0f', since)
  return told
end
if not fresh then return entered('again') end
count = count + 1
if interval > 0 then
  full_at = full_at + interval
  local ms = math.ceil((full_at - now_us) / 1000)
  redis.call('SET', rate, string.format('%.0f', full_at), 'PX', string.format('%.0f', ms))
end
return entered('in')
