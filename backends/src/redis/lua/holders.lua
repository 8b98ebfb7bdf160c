-- Returns number of the key, run and hold of each holder.
-- KEYS  each key's holders
local found = {}
for n, key in ipairs(KEYS) do
  local holders = redis.call('HGETALL', key)
  for h = 1, #holders, 2 do
    if holders[h] ~= 'freed' then
      found[#found + 1] = n - 1
      found[#found + 1] = holders[h]
      found[#found + 1] = holders[h + 1]
    end
  end
end
return found
