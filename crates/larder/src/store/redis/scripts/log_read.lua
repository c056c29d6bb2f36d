#!lua flags=allow-oom
-- Reads a tenant's log: where it ends, and what comes after a place. Begins it, if there is none, and tells all nodes:
-- one of them may follow the log that was here before.
--
-- KEYS  1 coherence state  2 the log's own state  3 its events (stream)  4 number of the last message
-- ARGV  1 label  2 name of a new epoch  3 ms for which the state is kept  4 epoch and 5 offset of the place
--       6 most events  7 most bytes (one event in any case)  8 channel of events  9 tenant
-- Answers RECOVER | OK epoch head, then for each event: offset, JSON
local meta, stream = KEYS[2], KEYS[3]
local function text(number) return string.format('%.0f', number) end

local s = redis.pcall('ZMSCORE', KEYS[1], '!e', '!i' .. ARGV[1])
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] then return {'RECOVER'} end
local coherence = text(-tonumber(s[1]))

local m = redis.pcall('HMGET', meta, 'e', 'o', 'c')
if m.err then
  redis.call('DEL', meta)
  m = {}
end
if not m[1] or m[3] ~= coherence then
  redis.call('DEL', stream)
  redis.call('HSET', meta, 'e', ARGV[2], 'o', '0', 'c', coherence)
  redis.call('PEXPIRE', meta, ARGV[3])
  local number = text(redis.call('INCR', KEYS[4]))
  redis.call('SPUBLISH', ARGV[8], cmsgpack.pack({'E', number, ARGV[9], ARGV[2], '1'}))
  return {'OK', ARGV[2], '0'}
end
local reply, head, offset = {'OK', m[1], m[2]}, tonumber(m[2]), tonumber(ARGV[5])
if m[1] ~= ARGV[4] or offset >= head then return reply end

-- In pieces: what is too much is not fetched.
local left, bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
while left > 0 do
  local some = redis.call('XRANGE', stream, text(offset + 1) .. '-0', '+', 'COUNT', math.min(left, 32))
  for _, entry in ipairs(some) do
    local json = entry[2][2]
    if #reply > 3 and #json > bytes then return reply end
    bytes = bytes - #json
    reply[#reply + 1] = string.match(entry[1], '^%d+')
    reply[#reply + 1] = json
  end
  if #some == 0 then return reply end
  left, offset = left - #some, tonumber(reply[#reply - 1])
end
return reply
