-- Takes a run out whose command was not published. A hold stays that the log has confirmed, or with which
-- the run was entered again; while one stays, the run is active.
-- KEYS  active runs, then each key's holders    ARGV  run, since when it holds its keys in ms
local stays = false
for n = 2, #KEYS do
  local hold = redis.call('HGET', KEYS[n], ARGV[1])
  if hold and string.match(hold, '^t (%d+) ') == ARGV[2] then
    redis.call('HDEL', KEYS[n], ARGV[1])
  elseif hold then
    stays = true
  end
end
if not stays then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1
