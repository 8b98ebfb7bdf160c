-- Returns the newest mark that was read, then each run at some keys of a project and since when it waits, empty
-- when it does not.
-- KEYS  position, lines
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {redis.call('HGET', KEYS[1], 'n') or ''}
for key = 2, #KEYS do
  local line = redis.call('HGETALL', KEYS[key])
  for n = 1, #line, 2 do
    local since, expires = string.match(line[n + 1], '^(%d*)b? (%d+)$')
    if tonumber(expires) > now then
      found[#found + 1] = line[n]
      found[#found + 1] = since
    end
  end
end
return found
