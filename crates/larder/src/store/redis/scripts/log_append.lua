#!lua
-- Appends events to a tenant's log and tells every node, in one message.
--
-- KEYS  1 coherence state  2 number of the bucket's last message  3 the log's own state  4 its events (stream)
--       5 the last batch of this node  then, for each event whose id is remembered: where that is
-- ARGV  1 label  2 channel of events  3 tenant  4 name of a new epoch  5 '1' = begin it in any case
--       6 number of the batch  7 events kept  8 ms for which they are kept
--       9 ms for which the state is kept  10 ms for which ids and batches are remembered  11 bytes of events kept
--       then for each event: id, '1' = it is remembered, JSON
-- Answers RECOVER | LATE | OK, then for each event: epoch, offset
local meta, stream = KEYS[3], KEYS[4]
local function text(number) return string.format('%.0f', number) end

local s = redis.pcall('ZMSCORE', KEYS[1], '!e', '!i' .. ARGV[1])
if s.err then
  if string.find(s.err, 'WRONGTYPE', 1, true) then return {'RECOVER'} end
  return s
end
if not s[1] or not s[2] then return {'RECOVER'} end
local coherence = text(-tonumber(s[1]))

-- An attempt without an answer is repeated, and may itself be carried out after that: so late that the node has gone on.
local number, answer = string.match(redis.call('GET', KEYS[5]) or '', '^(%d+)(.*)$')
if number and tonumber(number) > tonumber(ARGV[6]) then return {'LATE'} end
if number and tonumber(number) == tonumber(ARGV[6]) then
  local again = {'OK'}
  for word in string.gmatch(answer, '%w+') do again[#again + 1] = word end
  return again
end

-- A log ends with the epoch of the coherence state: whatever else this server holds may be of old.
local m = redis.pcall('HMGET', meta, 'e', 'o', 'c')
if m.err then
  redis.call('DEL', meta)
  m = {}
end
local epoch, offset = m[1], tonumber(m[2] or 0)
local begins = not epoch or m[3] ~= coherence or ARGV[5] == '1'
if begins then
  epoch, offset = ARGV[4], 0
  redis.call('DEL', stream)
end

-- Large events take fewer places. A server that does not tell what a key takes bounds their number alone.
local kept, least = ARGV[7], '~'
local bytes, many = redis.pcall('MEMORY', 'USAGE', stream, 'SAMPLES', '0'), redis.pcall('XLEN', stream)
if type(bytes) == 'number' and type(many) == 'number' and bytes > tonumber(ARGV[11]) then
  kept, least = text(math.max(1, math.floor(many * tonumber(ARGV[11]) / bytes * 0.9))), '='
end

local first, reply = offset + 1, {'OK'}
local message = {'E', '', ARGV[3], epoch, text(first)}
local remembered = 5
for j = 12, #ARGV, 3 do
  local id, json, key, known = ARGV[j], ARGV[j + 2], nil, nil
  if ARGV[j + 1] == '1' then
    remembered = remembered + 1
    key = KEYS[remembered]
    known = redis.call('GET', key)
  end
  if not known then
    offset = offset + 1
    redis.call('XADD', stream, 'MAXLEN', least, kept, text(offset) .. '-0', id, json)
    message[#message + 1] = json
    known = epoch .. ':' .. text(offset)
    if key then redis.call('SET', key, known, 'PX', ARGV[10]) end
  end
  local its_epoch, its_offset = string.match(known, '^(%w+):(%d+)$')
  reply[#reply + 1] = its_epoch
  reply[#reply + 1] = its_offset
end

redis.call('HSET', meta, 'e', epoch, 'o', text(offset), 'c', coherence)
redis.call('PEXPIRE', meta, ARGV[9])
redis.call('SET', KEYS[5], ARGV[6] .. ' ' .. table.concat(reply, ' ', 2), 'PX', ARGV[10])
if offset >= first then
  redis.call('PEXPIRE', stream, ARGV[8])
  message[2] = text(redis.call('INCR', KEYS[2]))
  redis.call('SPUBLISH', ARGV[2], cmsgpack.pack(message))
elseif begins then
  -- No message tells of it: one is counted, so that whoever compares misses it.
  redis.call('INCR', KEYS[2])
end
return reply
