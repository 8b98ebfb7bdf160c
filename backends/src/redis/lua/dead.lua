-- Returns dead jobs, newest first, each with its time; those whose record is gone are removed on the way.
-- KEYS  dead    ARGV  how many, what the keys of records begin with, time and id to start after (or none)
local limit, prefix, time, id = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local newest = time == '' and '+inf' or time
local found, gone, skip = {}, {}, 0
-- The set is bounded, and so is this.
while #found < 2 * limit do
  local lines = redis.call('ZREVRANGEBYSCORE', KEYS[1], newest, '-inf', 'WITHSCORES', 'LIMIT', skip, limit)
  if #lines == 0 then break end
  for n = 1, #lines, 2 do
    local job, score = lines[n], string.format('%.0f', lines[n + 1])
    local before = time == '' or score ~= time or job < id
    if not before or #found == 2 * limit then
      -- Of the page before, or of the next one.
    elseif redis.call('EXISTS', prefix .. job) == 1 then
      found[#found + 1] = job
      found[#found + 1] = score
    else
      gone[#gone + 1] = job
    end
  end
  skip = skip + limit
end
for n = 1, #gone, 1000 do
  redis.call('ZREM', KEYS[1], unpack(gone, n, math.min(n + 999, #gone)))
end
return found
