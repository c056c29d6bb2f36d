#!lua flags=allow-oom
-- Settles an outage: the caller has delivered everything that it had deferred. When all who were there before the outage
-- have said so, the flag goes and everything stored stays valid. If one is missing for too long it is struck off, and
-- what it may have deferred is made good by a new epoch, in the same atomic step.
--
-- KEYS  1 state
-- ARGV  1 label  2 node  3 the outage (when the silence began, us)  4 '1' = wait for nobody any more
--       5 number of a new epoch (random, below 2^52)  6 channel of changes  7... nodes that the caller knew before
-- Answers RECOVER | DONE | BUMPED | WAIT node...
local state = KEYS[1]
local function text(number) return string.format('%.0f', number) end

local s = redis.pcall('ZMSCORE', state, '!e', '!h', '!f', '!i' .. ARGV[1], '!o')
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] or not s[3] or not s[4] then return {'RECOVER'} end
-- Settled by another meanwhile; or it is another outage, which the next heartbeat tells.
if not s[5] or text(-tonumber(s[5])) ~= ARGV[3] then return {'DONE'} end
local outage = tonumber(s[5])
redis.call('ZADD', state, outage, '!a' .. ARGV[2])

-- Whoever was registered when the silence began may have deferred something.
local needed, nodes = {}, {}
for j = 7, #ARGV do needed[ARGV[j]] = true end
for _, member in ipairs(redis.call('ZRANGE', state, '-inf', -2, 'BYSCORE')) do
  if string.sub(member, 1, 2) == '!n' then
    local expires = redis.call('ZSCORE', state, member)
    nodes[member] = expires
    if tonumber(expires) <= outage then needed[string.sub(member, 3)] = true end
  end
end
local missing = {}
for node in pairs(needed) do
  local drained = redis.call('ZSCORE', state, '!a' .. node)
  if not drained or tonumber(drained) ~= outage then missing[#missing + 1] = node end
end
if #missing == 0 then
  -- The flag, and what was said about this outage or others before it.
  redis.call('ZREM', state, '!o')
  for _, member in ipairs(redis.call('ZRANGE', state, '-inf', -2, 'BYSCORE')) do
    if string.sub(member, 1, 2) == '!a' then redis.call('ZREM', state, member) end
  end
  return {'DONE'}
end
if ARGV[4] ~= '1' then return {'WAIT', unpack(missing, 1, math.min(#missing, 100))} end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local head = text(math.max(now, tonumber(s[2]) + 1))
redis.call('DEL', state)
-- Silence is counted from here on too.
redis.call('ZADD', state, '-' .. ARGV[5], '!e', head, '!h', head, '!f', text(now), '!b', '-' .. text(now), '!l',
  -1, '!i' .. ARGV[1])
for _, node in ipairs(missing) do nodes['!n' .. node] = nil end
for member, expires in pairs(nodes) do redis.call('ZADD', state, expires, member) end
redis.call('SPUBLISH', ARGV[6], cmsgpack.pack({'', 'E', ARGV[5], head}))
return {'BUMPED'}
