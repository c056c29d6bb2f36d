#!lua flags=allow-oom
-- Gives a lease back: the load failed or was given up. Wakes those who wait for it.
--
-- KEYS  1 lease
-- ARGV  1 token  2 ms for which nobody else shall load  3 what precedes a node in the name of its wake-up channel
--       4 the key's own scope
-- Answers 1, or 0 if the lease was not ours any more
local lease, cooldown = KEYS[1], tonumber(ARGV[2])
if redis.pcall('HGET', lease, 't') ~= ARGV[1] then return 0 end

local fields, grant = redis.call('HKEYS', lease), redis.call('HMGET', lease, 'e', 'v')
redis.call('DEL', lease)
if cooldown > 0 and grant[1] and grant[2] then
  local t = redis.call('TIME')
  local ends = t[1] * 1000000 + t[2] + cooldown * 1000
  redis.call('HSET', lease, 'f', '1', 'x', string.format('%.0f', ends), 'e', grant[1], 'v', grant[2])
  redis.call('PEXPIRE', lease, cooldown)
end
for j = 1, #fields do
  if string.sub(fields[j], 1, 1) == 'w' then
    redis.call('SPUBLISH', ARGV[3] .. string.sub(fields[j], 2), 'X' .. ARGV[4])
  end
end
return 1
