#!lua flags=no-writes,allow-oom
-- Reads the stamps of scopes, and of the tags that entries carry: for a reader who does not know those.
--
-- KEYS  1 state, then the entries
-- ARGV  1 label  2... the scopes that the reader knows
-- Answers the scores of !e, !h, !f, !i<label>, of each of those scopes, then of each other tag of the entries: as it was
-- invalidated, and as it was expired. And these tags.
local state = KEYS[1]

-- The head of an envelope, never its payload: 43 bytes and up to 32 tags of 16. What is no envelope of this version, and
-- what is no string at all, carries none.
local HEAD, TAG, MAX_TAGS = 43, 16, 32
local known, tags = nil, {}
for k = 2, #KEYS do
  local envelope = redis.pcall('GETRANGE', KEYS[k], 0, HEAD + TAG * MAX_TAGS - 1)
  if type(envelope) == 'string' and #envelope > HEAD and string.sub(envelope, 1, 1) == 'L' then
    local carried = math.min(string.byte(envelope, 3), MAX_TAGS, math.floor((#envelope - HEAD) / TAG))
    if carried > 0 and not known then
      known = {}
      for j = 2, #ARGV do known[ARGV[j]] = true end
    end
    for j = 1, carried do
      local tag = string.sub(envelope, HEAD + 1 + TAG * (j - 1), HEAD + TAG * j)
      if not known[tag] then
        known[tag] = true
        tags[#tags + 1] = tag
      end
    end
  end
end

-- What is asked for, in one list. In parts where it is long: Lua passes arguments on its stack.
local PART = 1000
ARGV[1] = '!i' .. ARGV[1]
for j = 1, #tags do
  ARGV[#ARGV + 1] = tags[j]
  ARGV[#ARGV + 1] = 'x' .. string.sub(tags[j], 2)
end
local scores = redis.pcall('ZMSCORE', state, '!e', '!h', '!f', unpack(ARGV, 1, math.min(PART, #ARGV)))
if scores.err then return scores end
for first = PART + 1, #ARGV, PART do
  local part = redis.call('ZMSCORE', state, unpack(ARGV, first, math.min(first + PART - 1, #ARGV)))
  for j = 1, #part do scores[#scores + 1] = part[j] end
end
return {scores, tags}
