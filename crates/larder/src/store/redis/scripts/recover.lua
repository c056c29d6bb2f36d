#!lua flags=allow-oom
-- Decides whether this server continues the history that the state tells of; if not, begins a new epoch, in which
-- nothing that was stored before is valid.
--
-- KEYS  1 state
-- ARGV  1 number of a new epoch (random, below 2^52)  2 channel of changes  3 '1' = begin a new epoch in any case
--       4 us after which the registration of a node that was gone when somebody was last heard is forgotten
-- Answers OK label epoch | BUMPED label epoch
local state = KEYS[1]
local function text(number) return string.format('%.0f', number) end

-- Identity: a restart changes run_id, a promotion or restore the replication id.
local replication, server = redis.call('INFO', 'replication'), redis.call('INFO', 'server')
local run = string.sub(string.match(server, 'run_id:(%x+)'), 1, 16)
local label = run .. string.sub(string.match(replication, 'master_replid:(%x+)'), 1, 16)
local no_past = string.match(replication, 'master_replid2:(%x+)') == string.rep('0', 40)

local s = redis.pcall('ZMSCORE', state, '!e', '!h', '!f', '!i' .. label, '!l', '!o')
if s.err then
  if not string.find(s.err, 'WRONGTYPE', 1, true) then return s end
  redis.call('DEL', state)
  s = {false, false, false, false, false, false}
end

-- Nodes that were gone long before anybody was last heard, or before an outage that is not settled: no barrier will
-- ask for them.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local heard = tonumber(s[6] or s[5] or -now)
for _, member in ipairs(redis.call('ZRANGE', state, text(heard + ARGV[4]), -2, 'BYSCORE')) do
  if string.sub(member, 1, 2) == '!n' then redis.call('ZREM', state, member) end
end

if s[1] and s[2] and s[3] and ARGV[3] ~= '1' then
  local epoch = text(-tonumber(s[1]))
  if s[4] then return {'OK', label, epoch} end
  -- The first replica of a server gives it a replication id of its own; process and data are the same.
  if no_past then
    for _, member in ipairs(redis.call('ZRANGE', state, -1, -1, 'BYSCORE')) do
      if string.sub(member, 1, 2) == '!i' and string.sub(member, 3, 18) == run then
        redis.call('ZADD', state, -1, '!i' .. label)
        return {'OK', label, epoch}
      end
    end
  end
end

-- A new epoch. Registrations are kept: those nodes may still serve what they hold.
local head = text(math.max(now, tonumber(s[2] or 0) + 1))
local nodes = {}
for _, member in ipairs(redis.call('ZRANGE', state, '-inf', -2, 'BYSCORE')) do
  if string.sub(member, 1, 2) == '!n' then nodes[member] = redis.call('ZSCORE', state, member) end
end
redis.call('DEL', state)
-- Silence is counted from here on: no heartbeat of this epoch may have come before the next outage.
redis.call('ZADD', state, '-' .. ARGV[1], '!e', head, '!h', head, '!f', text(now), '!b', '-' .. text(now), '!l',
  -1, '!i' .. label)
for member, expires in pairs(nodes) do redis.call('ZADD', state, expires, member) end
redis.call('SPUBLISH', ARGV[2], cmsgpack.pack({'', 'E', ARGV[1], head}))
return {'BUMPED', label, ARGV[1]}
