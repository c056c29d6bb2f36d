#!lua flags=allow-oom
-- Who is in a room: each connection until it leaves, or is not refreshed in time; counted by user.
--
-- KEYS  1 connections by expiry (sorted set)  2 the user of each connection (hash)
--       3 of each user: number of connections, ':', what the user tells (hash)
-- ARGV  1 here | gone | who  2 ms for which a connection is here  3 most connections (here), most users (who)
--       then for here: connection, user, what the user tells; for gone: connection
-- Answers OK total number of users that came or went, these users, then for who: user, connections, what the user tells
local conns, whose, users = KEYS[1], KEYS[2], KEYS[3]
local ttl, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local changed = {}

local function of(user)
  local value = redis.call('HGET', users, user)
  if not value then return 0, '' end
  local count, info = string.match(value, '^(%d+):(.*)$')
  return tonumber(count), info
end

local function gone(conn)
  redis.call('ZREM', conns, conn)
  local user = redis.call('HGET', whose, conn)
  if not user then return end
  redis.call('HDEL', whose, conn)
  local count, info = of(user)
  if count > 1 then
    redis.call('HSET', users, user, (count - 1) .. ':' .. info)
  else
    redis.call('HDEL', users, user)
    changed[#changed + 1] = user
  end
end

local late = redis.call('ZRANGE', conns, '-inf', now, 'BYSCORE', 'LIMIT', 0, 500)
for _, conn in ipairs(late) do gone(conn) end
local members = {}
if ARGV[1] == 'here' then
  for j = 4, #ARGV, 3 do
    local conn, user, info = ARGV[j], ARGV[j + 1], ARGV[j + 2]
    local there = redis.call('HGET', whose, conn)
    if there and there ~= user then
      gone(conn)
      there = false
    end
    if there or redis.call('ZCARD', conns) < most then
      local count = of(user)
      if not there then
        redis.call('HSET', whose, conn, user)
        count = count + 1
        if count == 1 then changed[#changed + 1] = user end
      end
      redis.call('HSET', users, user, count .. ':' .. info)
      redis.call('ZADD', conns, string.format('%.0f', now + ttl), conn)
    end
  end
  -- Longer than any connection in it: what is left when all nodes have died.
  for j = 1, 3 do redis.call('PEXPIRE', KEYS[j], 2 * ttl) end
elseif ARGV[1] == 'gone' then
  for j = 4, #ARGV do gone(ARGV[j]) end
else
  local found = redis.call('HLEN', users) <= most and redis.call('HGETALL', users)
    or redis.call('HSCAN', users, 0, 'COUNT', most)[2]
  for j = 1, math.min(#found, 2 * most), 2 do
    local count, info = string.match(found[j + 1], '^(%d+):(.*)$')
    members[#members + 1] = found[j]
    members[#members + 1] = count
    members[#members + 1] = info
  end
end

local reply = {'OK', tostring(redis.call('HLEN', users)), tostring(#changed)}
for _, user in ipairs(changed) do reply[#reply + 1] = user end
for _, part in ipairs(members) do reply[#reply + 1] = part end
return reply
