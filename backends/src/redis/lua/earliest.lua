-- Returns jobs of an order at or before an instant, earliest first, each with its time; those whose
-- record is gone are removed on the way.
-- KEYS  the order    ARGV  instant, how many, what the keys of records begin with, time and id to start
--       after (or none)
local limit, prefix, time, id = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local from = time == '' and '-inf' or time
local found, gone, skip = {}, {}, 0
-- Twenty pages at most: what is left is found by the next call.
for _ = 1, 20 do
  local lines = redis.call('ZRANGEBYSCORE', KEYS[1], from, ARGV[1], 'WITHSCORES', 'LIMIT', skip, limit)
  for n = 1, #lines, 2 do
    local job, score = lines[n], string.format('%.0f', lines[n + 1])
    local behind = time == '' or score ~= time or job > id
    if not behind or #found == 2 * limit then
      -- Of the page before, or of the next one.
    elseif redis.call('EXISTS', prefix .. job) == 1 then
      found[#found + 1] = job
      found[#found + 1] = score
    else
      gone[#gone + 1] = job
    end
  end
  if #lines < 2 * limit or #found == 2 * limit then break end
  skip = skip + limit
end
for n = 1, #gone, 1000 do
  redis.call('ZREM', KEYS[1], unpack(gone, n, math.min(n + 999, #gone)))
end
return found
