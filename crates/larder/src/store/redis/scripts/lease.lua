#!lua
-- Asks for the right to load one entry, after a miss or a stale hit.
--
-- KEYS  1 state  2 entry  3 lease
-- ARGV  1 label  2 node  3 token  4 lease in ms  5 us: a value with no more fresh time left than this is loaded again
--       6 time (us) after which the caller has given up  7 the key's own scope  8... the scopes that the caller declares
-- Answers RECOVER | RETRY | LATE | FAILED us | WAIT us | LEASE epoch head
--
-- No allow-oom: a full server must not take in loads that it then can't store.
local state, entry, lease = KEYS[1], KEYS[2], KEYS[3]
local label, node, token, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local below, deadline = tonumber(ARGV[5]), tonumber(ARGV[6])

-- The head of the envelope, never its payload: 43 bytes and up to 32 scopes of 16. What is no envelope of this
-- version, and what is no string at all, is as good as absent.
local HEAD, SCOPE, MAX_SCOPES = 43, 16, 32
local envelope = redis.pcall('GETRANGE', entry, 0, HEAD + SCOPE * MAX_SCOPES - 1)
local tags = 0
if type(envelope) ~= 'string' or #envelope < HEAD or string.sub(envelope, 1, 1) ~= 'L' then
  envelope = nil
else
  tags = string.byte(envelope, 3)
  if tags > MAX_SCOPES or #envelope < HEAD + SCOPE * tags then envelope = nil end
end

-- All scopes: declared ones and those in the envelope.
local scopes = {}
for j = 8, #ARGV do scopes[#scopes + 1] = ARGV[j] end
if envelope then
  for j = 0, tags - 1 do
    local from = HEAD + 1 + SCOPE * j
    scopes[#scopes + 1] = string.sub(envelope, from, from + SCOPE - 1)
  end
end

-- Epoch, head, floor, blessing; when each scope was invalidated; when each, and the key, was expired.
local members = {'!e', '!h', '!f', '!i' .. label}
for j = 1, #scopes do members[#members + 1] = scopes[j] end
members[#members + 1] = 'x' .. string.sub(ARGV[7], 2)
for j = 1, #scopes do members[#members + 1] = 'x' .. string.sub(scopes[j], 2) end
local s = redis.pcall('ZMSCORE', state, unpack(members))
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] or not s[3] or not s[4] then return {'RECOVER'} end
local epoch, head, floor = -tonumber(s[1]), tonumber(s[2]), tonumber(s[3])

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

-- Did somebody fill it meanwhile?
if envelope then
  local ver, its_epoch, soft = struct.unpack('>I8I8I8', string.sub(envelope, 4, 27))
  local valid = its_epoch == epoch and ver >= floor
  -- What was expired is no better than what was invalidated: it is to be loaded.
  for j = 5, #s do
    if s[j] and tonumber(s[j]) > ver then valid = false end
  end
  if valid and now + below < soft * 1000 then return {'RETRY'} end
end

-- A command that was delayed must not leave a lease that nobody holds.
if now > deadline then return {'LATE'} end

local current = string.format('%.0f', epoch)
local held = redis.pcall('HMGET', lease, 'n', 'x', 'f', 'e', 'v')
if held.err then
  redis.call('DEL', lease)
  held = {false, false, false, false, false}
end
local holder, expires, failed = held[1], tonumber(held[2] or 0) or 0, held[3]
if expires > now then
  local left = string.format('%.0f', expires - now)
  -- A load that failed keeps others from trying, unless what it was to load has been invalidated or expired since.
  local failed_at = tonumber(held[5] or 0) or 0
  local cooling = failed and held[4] == current and failed_at >= floor
  for j = 5, #s do
    if s[j] and tonumber(s[j]) > failed_at then cooling = false end
  end
  if cooling then return {'FAILED', left} end
  -- The holder counts only while its node lives: a crashed loader is noticed within one coherence lease. A lease of
  -- another epoch came back with a backup: what it loads could not be stored, and nobody may be left who ends it.
  local alive = holder and held[4] == current and redis.call('ZSCORE', state, '!n' .. holder)
  if alive and -tonumber(alive) > now then
    redis.call('HSET', lease, 'w' .. node, '1')
    -- As long as the holder is certain to live: after that it is time to look again.
    return {'WAIT', string.format('%.0f', math.min(expires, -tonumber(alive)) - now)}
  end
end

-- Those who wait for a dead holder stay registered: the new one wakes them.
local expiry = string.format('%.0f', now + lease_ms * 1000)
redis.call('HSET', lease, 't', token, 'n', node, 'e', current, 'x', expiry, 'v', string.format('%.0f', head))
redis.call('HDEL', lease, 'f')
redis.call('PEXPIRE', lease, lease_ms)
return {'LEASE', current, string.format('%.0f', head)}
