-- Adds lines to the logs of jobs, each once, and keeps the newest ones.
-- KEYS  job and lines of each chunk
-- ARGV  the earliest instant at which an ended record that takes lines is forgotten; lines that are
--       kept, lines that may be kept beyond, bytes that are kept;
--       then for each chunk: epoch, attempt, count of lines, and name and text of each
local late, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local slack, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 4
local function arg()
  at = at + 1
  return ARGV[at]
end

-- Drops the oldest lines beyond the bounds; the field b has no place among the names.
local function prune(lines)
  local count = redis.call('HLEN', lines) - 1
  local size = tonumber(redis.call('HGET', lines, 'b'))
  if count <= most + slack and size <= bytes then return end
  local names = redis.call('HKEYS', lines)
  table.sort(names)
  for _, name in ipairs(names) do
    if count <= most and size <= bytes then break end
    if name ~= 'b' then
      size = size - redis.call('HSTRLEN', lines, name)
      count = count - 1
      redis.call('HDEL', lines, name)
    end
  end
  redis.call('HSET', lines, 'b', size)
end

for key = 1, #KEYS, 2 do
  local job, lines = KEYS[key], KEYS[key + 1]
  local epoch, attempt, count = arg(), tonumber(arg()), tonumber(arg())
  local have = redis.call('HMGET', job, 'wk', 'x')
  local winner, forgotten = have[1], have[2]
  -- A winner's text begins with the epoch, whether it is an end, and, if not, the attempt.
  local takes = winner and forgotten and string.sub(winner, 1, 10) == epoch
  if takes and string.sub(winner, 11, 11) == '1' then
    takes = tonumber(forgotten) >= late
  elseif takes then
    takes = attempt <= tonumber(string.sub(winner, 12, 21)) + 1
  end
  local fresh = 0
  for _ = 1, count do
    local name, text = arg(), arg()
    if takes and redis.call('HSETNX', lines, name, text) == 1 then fresh = fresh + #text end
  end
  if fresh > 0 then
    redis.call('HINCRBY', lines, 'b', fresh)
    prune(lines)
    redis.call('PEXPIREAT', lines, forgotten)
  end
end
return #KEYS
