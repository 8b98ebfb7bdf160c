-- Says how full the server is that has a partition: bytes that count, and the limit (0: none).
-- KEYS  position
local info = redis.call('INFO', 'memory')
local function bytes(name) return tonumber(string.match(info, '%f[%w_]' .. name .. ':(%d+)') or '0') end
local counts = bytes('used_memory') - bytes('mem_not_counted_for_evict')
return {string.format('%.0f', counts), string.format('%.0f', bytes('maxmemory'))}
