#!lua flags=allow-oom
-- Invalidates: stamps scopes, drops entries together with their leases, tells every node.
--
-- KEYS  1 state, then for each key: its entry and its lease
-- ARGV  1 label  2 channel of changes  3 what precedes a node in the name of its wake-up channel
--       4 us for which a stamp is kept  5 most members of the state  6 node  7 number to acknowledge under, or '0'
--       8 number of scopes  9... the scopes, then each key's own scope, then patterns, which are only passed on
-- Answers RECOVER | OK epoch stamp, and where acknowledgement is wanted: age of the epoch (us), then each other node
-- that holds a lease, and for how long (us)
local state, keep_us, cap, scopes = KEYS[1], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[8])
local function text(number) return string.format('%.0f', number) end

local s = redis.pcall('ZMSCORE', state, '!e', '!h', '!f', '!i' .. ARGV[1], '!b')
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] or not s[3] or not s[4] then return {'RECOVER'} end
local epoch, prev, floor = -tonumber(s[1]), tonumber(s[2]), tonumber(s[3])

-- The new head: later than any stamp before it, also when the clock went back.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local stamp = math.max(prev + 1, now)
local changes = {text(stamp), '!h'}
for j = 1, scopes do
  changes[#changes + 1] = text(stamp)
  changes[#changes + 1] = ARGV[8 + j]
end
redis.call('ZADD', state, unpack(changes))

for k = 1, (#KEYS - 1) / 2 do
  local entry, lease, key_scope = KEYS[2 * k], KEYS[2 * k + 1], ARGV[8 + scopes + k]
  redis.call('DEL', entry)
  local fields = redis.pcall('HKEYS', lease)
  redis.call('DEL', lease)
  if not fields.err then
    for j = 1, #fields do
      if string.sub(fields[j], 1, 1) == 'w' then
        redis.call('SPUBLISH', ARGV[3] .. string.sub(fields[j], 2), 'X' .. key_scope)
      end
    end
  end
end

-- Forget stamps that no living entry can need. Over the cap: forget the oldest. The floor rises to the youngest that
-- was forgotten, so that what it had invalidated stays dead (and more with it, which is safe).
local old = redis.call('ZRANGE', state, 1, text(now - keep_us), 'BYSCORE', 'LIMIT', 0, 64)
local over = redis.call('ZCARD', state) - cap
if over > 0 then
  old = redis.call('ZRANGE', state, 1, '+inf', 'BYSCORE', 'LIMIT', 0, math.min(over + 64, 2000))
end
local risen = floor
for j = 1, #old do
  if string.sub(old[j], 1, 1) ~= '!' then
    local its = tonumber(redis.call('ZSCORE', state, old[j]))
    if its < stamp then
      if its > risen then risen = its end
      redis.call('ZREM', state, old[j])
    end
  end
end
if risen > floor then redis.call('ZADD', state, text(risen), '!f') end

redis.call('SPUBLISH', ARGV[2],
  cmsgpack.pack({ARGV[6], ARGV[7], text(epoch), text(prev), text(stamp), text(risen), unpack(ARGV, 9)}))
local reply = {'OK', text(epoch), text(stamp)}
if ARGV[7] ~= '0' then
  -- A state without a date of birth may be as young as can be.
  reply[4] = text(math.max(0, now - tonumber(s[5] or now)))
  local holders = redis.call('ZRANGE', state, '-inf', -2, 'BYSCORE', 'WITHSCORES')
  for j = 1, #holders, 2 do
    local node, left = holders[j], -tonumber(holders[j + 1]) - now
    if string.sub(node, 1, 2) == '!n' and node ~= '!n' .. ARGV[6] and left >= 0 then
      reply[#reply + 1] = string.sub(node, 3)
      reply[#reply + 1] = text(left)
    end
  end
end
return reply
