-- Returns how many runs are active, and the microseconds until the rate is full.
-- KEYS  active runs by expiry, rate
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', math.floor(now_us / 1000))
local full_at = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), now_us)
return {redis.call('ZCARD', KEYS[1]), string.format('%.0f', full_at - now_us)}
