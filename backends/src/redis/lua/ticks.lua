-- Merges progress into records that are live in the same run.
-- KEYS  jobs
-- ARGV  for each: the run (epoch and attempt), the text that orders the tick, the tick
for n = 1, #KEYS do
  local run, key, tick = ARGV[3 * n - 2], ARGV[3 * n - 1], ARGV[3 * n]
  local have = redis.call('HMGET', KEYS[n], 'wk', 'tk')
  local winner, newest = have[1], have[2]
  -- A winner's text begins with the epoch, whether it is an end, and, if not, the attempt.
  if winner and string.sub(winner, 11, 11) == '0'
    and string.sub(winner, 1, 10) .. string.sub(winner, 12, 21) == run
    and (not newest or key > newest) then
    redis.call('HSET', KEYS[n], 'tk', key, 't', tick)
  end
end
return #KEYS
