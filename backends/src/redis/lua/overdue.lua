-- Returns live jobs whose deadline has passed, earliest first; those whose record is gone are
-- removed on the way.
-- KEYS  live    ARGV  instant, how many, what the keys of records begin with
local found, limit = {}, tonumber(ARGV[2])
for _ = 1, 10 do
  local wanted = limit - #found
  if wanted <= 0 then break end
  local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', #found, wanted)
  local gone = {}
  for _, id in ipairs(ids) do
    if redis.call('EXISTS', ARGV[3] .. id) == 1 then
      found[#found + 1] = id
    else
      gone[#gone + 1] = id
    end
  end
  if #gone == 0 then break end
  redis.call('ZREM', KEYS[1], unpack(gone))
end
return found
