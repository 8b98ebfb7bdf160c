-- Merges facts into records of one partition, and moves its position in the same step.
--
-- The merge is a join: each part of a record comes with a text of digits that orders it, and the
-- greater text wins. Values are JSON that is never looked into. Numbers that must not lose a digit
-- are handed on as the texts that they came as.
--
-- KEYS  position, live, bad, dead, runs that have ended, heard, ended, places at each key of a step, then job,
--       history and lines of each fact
-- ARGV  most dead jobs, check, expected offset and id, new offset and id, time of the first entry, a random text, now,
--       count of marks, by when a mark is believed and each server and time, count of bad entries and each text,
--       count of keys of steps, count of steps and for each what is read below,
--       then for each fact what is read below, in that order
--
-- A record: wk w the winner, sk s d q the submission, its deadline and by when it must have started,
-- g its kind and project, ck c the cancel, bk b the start, f the confirmed epoch, tk t the tick, x the instant when it is forgotten.
-- Attempt, rank and number in the key of a winner that no worker has touched: in line, or queued.
local UNTOUCHED = {['000000000110000000000'] = true, ['000000000120000000000'] = true}
local HEAD, TAIL, ENDS, BAD, MARK_LIFE, SERVERS = 20, 60, 16, 100, 3600000, 100

local at = 0
local function arg()
  at = at + 1
  return ARGV[at]
end

-- Keeps the first and last entries and the ends between them; a place ends in 1 if it is an end.
local function prune(history)
  local places = redis.call('HKEYS', history)
  table.sort(places)
  local drop, ends = {}, 0
  for n = HEAD + 1, #places - TAIL do
    local is_end = string.sub(places[n], -1) == '1'
    if is_end then ends = ends + 1 end
    if not is_end or ends > ENDS then drop[#drop + 1] = places[n] end
  end
  if #drop > 0 then redis.call('HDEL', history, unpack(drop)) end
end

local position, live, bad, dead, past, heard, ended = unpack(KEYS, 1, 7)
local most_dead = tonumber(arg())
local check, expected_offset, expected_id = arg() == '1', arg(), arg()
local offset, id, first, life, now = arg(), arg(), arg(), arg(), tonumber(arg())
if check then
  local stands = redis.call('HMGET', position, 'o', 'i')
  if (stands[1] or '') ~= expected_offset or (stands[2] or '') ~= expected_id then
    return {'moved', stands[1] or '', stands[2] or ''}
  end
  -- The first write is one that a full Redis refuses: then nothing has been written.
  redis.call('HSET', position, 'v', '1')
  redis.call('HSETNX', position, 'l', life)
  if expected_offset == '' then redis.call('HSET', position, 's', first) end
end

local marks, latest = tonumber(arg()), tonumber(arg())
for _ = 1, marks do
  local server, time = 'm:' .. arg(), arg()
  local have = redis.call('HGET', position, server)
  if not have or tonumber(time) > tonumber(have) then redis.call('HSET', position, server, time) end
end
if marks > 0 then
  local all, servers, kept, newest = redis.call('HGETALL', position), {}, 0, nil
  for n = 1, #all, 2 do
    if string.sub(all[n], 1, 2) == 'm:' then servers[#servers + 1] = {all[n], all[n + 1]} end
  end
  table.sort(servers, function(a, b) return tonumber(a[2]) > tonumber(b[2]) end)
  for _, server in ipairs(servers) do
    local time = tonumber(server[2])
    local over = newest and time < tonumber(newest) - MARK_LIFE
    -- What is ahead was written by a reader with another clock, or by an older version.
    if time > latest or over or kept == SERVERS then
      redis.call('HDEL', position, server[1])
    else
      newest, kept = newest or server[2], kept + 1
    end
  end
  if newest then redis.call('HSET', position, 'n', newest) else redis.call('HDEL', position, 'n') end
end

local spoilt = tonumber(arg())
for _ = 1, spoilt do redis.call('RPUSH', bad, arg()) end
if spoilt > 0 then redis.call('LTRIM', bad, -BAD, -1) end

-- Where a run stands in a line after a step, from where it stood: since when it waits, empty when it is free to
-- run, b when a worker has begun it, nil when it is in no line. The steps: i, it waits; n, it is free; b, it was
-- begun; it has ended as anybody may say (o), as a worker says, not of one that waits (w), because nobody started
-- it, not of one that was begun (s). What cannot be leaves it where it is.
local function moved(what, since, stood)
  local waits = stood and tonumber(stood)
  if what == 'i' then
    if waits then return tonumber(since) < waits and since or stood end
    return stood or since
  elseif what == 'n' then
    return stood == 'b' and 'b' or ''
  elseif what == 'b' then
    return 'b'
  elseif (what == 'w' and waits) or (what == 's' and stood == 'b') then
    return stood
  end
  return nil
end

-- Runs in the lines of their project. That one has ended is remembered for as long as it would have counted.
local first_job, steps = 8 + tonumber(arg()), tonumber(arg())
if steps > 0 then redis.call('ZREMRANGEBYSCORE', past, '-inf', now) end
for _ = 1, steps do
  local what, run, since, expires, keys = arg(), arg(), arg(), arg(), tonumber(arg())
  local over = redis.call('ZSCORE', past, run)
  local ends = string.find('ows', what, 1, true) and not over
  for _ = 1, keys do
    local line = KEYS[7 + tonumber(arg())]
    local have = redis.call('HGET', line, run)
    local stood = have and string.match(have, '^%S*')
    local stands = moved(what, since, stood)
    if over then
      -- What comes late about it changes nothing.
    elseif not stands then
      redis.call('HDEL', line, run)
    elseif stands == stood then
      ends = false
    else
      redis.call('HSET', line, run, stands .. ' ' .. expires)
      if redis.call('PTTL', line) < tonumber(expires) - now then
        redis.call('PEXPIREAT', line, expires)
      end
    end
  end
  if ends then redis.call('ZADD', past, expires, run) end
end

local changed = 0
for key = first_job, #KEYS, 3 do
  local job, history, lines = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  local job_id, over, expires = arg(), arg() == '1', arg()
  local winner_key, winner, died, said = arg(), arg(), arg(), arg()
  local spec_key, spec, deadline, start_by, identity = arg(), arg(), arg(), arg(), arg()
  local cancel_key, cancel = arg(), arg()
  local start_key, start = arg(), arg()
  local confirmed, place, event = arg(), arg(), arg()

  local have = redis.call('HMGET', job, 'wk', 'sk', 'd', 'ck', 'bk', 'f', 'x', 'q', 'g')
  local function wins(new, old) return new ~= '' and (not old or new > old) end

  if have[9] and identity ~= '' and identity ~= have[9] then
    -- A job of another project or kind under this id: who came first stays.
  elseif over then
    -- The end of the job, already past its time: a record that does not have it is over too.
    if have[1] and wins(winner_key, have[1]) then
      redis.call('DEL', job, history, lines)
      for _, order in ipairs({live, dead, heard, ended}) do redis.call('ZREM', order, job_id) end
      changed = changed + 1
    end
  else
    local set = {}
    local function put(field, value)
      set[#set + 1] = field
      set[#set + 1] = value
    end
    local decides = wins(winner_key, have[1])
    local describes = wins(spec_key, have[2])
    if decides then put('wk', winner_key) put('w', winner) end
    if describes then
      put('sk', spec_key) put('s', spec) put('d', deadline) put('q', start_by) put('g', identity)
    end
    if wins(cancel_key, have[4]) then put('ck', cancel_key) put('c', cancel) end
    if wins(start_key, have[5]) then put('bk', start_key) put('b', start) end
    if wins(confirmed, have[6]) then put('f', confirmed) end
    if #set > 0 then changed = changed + 1 end

    local forgotten = have[7]
    if decides or (not have[1] and (not forgotten or tonumber(expires) > tonumber(forgotten))) then
      forgotten = expires
    end
    if forgotten ~= have[7] then put('x', forgotten) end
    if #set > 0 then redis.call('HSET', job, unpack(set)) end

    local fresh = place ~= '' and redis.call('HSETNX', history, place, event) == 1
    if fresh and redis.call('HLEN', history) > HEAD + TAIL then prune(history) end
    if forgotten ~= have[7] then
      redis.call('PEXPIREAT', job, forgotten)
      redis.call('PEXPIREAT', lines, forgotten)
    end
    if forgotten ~= have[7] or fresh then redis.call('PEXPIREAT', history, forgotten) end

    if decides and died ~= '' then
      redis.call('ZADD', dead, died, job_id)
      redis.call('ZREMRANGEBYRANK', dead, 0, -(most_dead + 1))
    elseif decides then
      redis.call('ZREM', dead, job_id)
    end

    local decided = decides and winner_key or have[1]
    local due = describes and deadline or have[3]
    local is_over = decided and string.sub(decided, 11, 11) == '1'
    local is_live = decided and due and not is_over
    if is_live then
      local last = redis.call('ZSCORE', heard, job_id)
      if not last or tonumber(said) > tonumber(last) then redis.call('ZADD', heard, said, job_id) end
    end
    if decides and is_over then
      redis.call('ZREM', heard, job_id)
      redis.call('ZADD', ended, forgotten, job_id)
    elseif decides then
      redis.call('ZREM', ended, job_id)
    end

    if decides or describes then
      local start = describes and start_by or have[8]
      if decided and start and start ~= '' and UNTOUCHED[string.sub(decided, 12, 32)] then
        due = start
      end
      if is_live then
        redis.call('ZADD', live, due, job_id)
      else
        redis.call('ZREM', live, job_id)
      end
    end
  end
end

if check then
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', now)
  redis.call('HSET', position, 'o', offset, 'i', id)
  local oldest = redis.call('HGET', position, 't')
  if first ~= '' and (not oldest or tonumber(first) < tonumber(oldest)) then
    redis.call('HSET', position, 't', first)
  end
end
return {'written', changed}
