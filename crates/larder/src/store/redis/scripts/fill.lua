#!lua
-- Stores what was loaded, if its lease still stands and nothing that it belongs to was invalidated since the grant.
--
-- KEYS  1 state  2 entry  3 lease
-- ARGV  1 label  2 token  3 epoch at the grant  4 head at the grant  5 ms to keep the bytes  6 envelope
--       7 what precedes a node in the name of its wake-up channel  8 the key's own scope  9... all scopes of the entry
-- Answers RECOVER | LOST | INVALIDATED | OK head expired (the last stamp since the grant that makes it stale, or 0)
--
-- No allow-oom: fills would push a full server far beyond its limit.
local state, entry, lease = KEYS[1], KEYS[2], KEYS[3]
local label, token, ver = ARGV[1], ARGV[2], tonumber(ARGV[4])

local members = {'!e', '!h', '!f', '!i' .. label}
for j = 9, #ARGV do members[#members + 1] = ARGV[j] end
-- The same scopes, and the key, where expired.
local scopes = #members
for j = 8, #ARGV do members[#members + 1] = 'x' .. string.sub(ARGV[j], 2) end
local s = redis.pcall('ZMSCORE', state, unpack(members))
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] or not s[3] or not s[4] then return {'RECOVER'} end

-- The token is the permission: an invalidation of the key deletes it, eviction and expiry can only take it away.
if redis.pcall('HGET', lease, 't') ~= token then return {'LOST'} end

local valid = -tonumber(s[1]) == tonumber(ARGV[3]) and ver >= tonumber(s[3])
for j = 5, scopes do
  if s[j] and tonumber(s[j]) > ver then valid = false end
end
-- An expiration since the grant refuses nothing: every reader sees its stamp, and so that the value is stale.
local expired = 0
for j = scopes + 1, #s do
  local stamp = tonumber(s[j] or 0)
  if stamp > ver and stamp > expired then expired = stamp end
end
if valid then redis.call('SET', entry, ARGV[6], 'PX', ARGV[5]) end

local fields = redis.call('HKEYS', lease)
redis.call('DEL', lease)
for j = 1, #fields do
  if string.sub(fields[j], 1, 1) == 'w' then
    redis.call('SPUBLISH', ARGV[7] .. string.sub(fields[j], 2), 'F' .. ARGV[8])
  end
end
if not valid then return {'INVALIDATED'} end
return {'OK', string.format('%.0f', tonumber(s[2])), string.format('%.0f', expired)}
