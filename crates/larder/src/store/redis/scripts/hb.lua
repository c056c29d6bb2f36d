#!lua flags=allow-oom
-- Heartbeat: registers a node for one more coherence lease and reads the head.
--
-- KEYS  1 state
-- ARGV  1 label  2 node  3 coherence lease in us  4 '1' = name all nodes whose registration holds
-- Answers RECOVER | OK epoch head floor outage(when the silence began, us; '' = none) now node...
local state, lease_us = KEYS[1], tonumber(ARGV[3])
local function text(number) return string.format('%.0f', number) end

local s = redis.pcall('ZMSCORE', state, '!e', '!h', '!f', '!i' .. ARGV[1], '!l', '!o')
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] or not s[3] or not s[4] then return {'RECOVER'} end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local last, outage = s[5], s[6]
-- Nobody was heard for longer than a lease: the server was out of reach for all of us. The flag stays until that is
-- settled. If an earlier silence is not settled yet, both are settled as one, under a name that nobody knows (it began
-- a microsecond earlier): whoever has said that it delivered everything may have deferred something since, and died.
if last and now + tonumber(last) > lease_us then
  outage = outage and text(tonumber(outage) + 1) or last
  redis.call('ZADD', state, outage, '!o')
end
-- Not the latest time but the last one: after the clock went back, a silence shows as before.
redis.call('ZADD', state, '-' .. text(now), '!l')
-- LT on negated times: a registration may be prolonged, never shortened.
redis.call('ZADD', state, 'LT', '-' .. text(now + lease_us), '!n' .. ARGV[2])
local reply = {'OK', text(-tonumber(s[1])), text(tonumber(s[2])), text(tonumber(s[3])),
  outage and text(-tonumber(outage)) or '', text(now)}
if ARGV[4] == '1' then
  -- Those whose registration holds: who died long ago had nothing to deliver after the next outage.
  for _, member in ipairs(redis.call('ZRANGE', state, '-inf', '-' .. text(now), 'BYSCORE')) do
    if string.sub(member, 1, 2) == '!n' then reply[#reply + 1] = string.sub(member, 3) end
  end
end
return reply
