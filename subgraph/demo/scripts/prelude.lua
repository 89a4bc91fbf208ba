-- What the scripts of the record streams share. A stream belongs to a tile:
--   HEADS  hash  tile id -> "last sequence|epoch it was opened at|epoch it was closed at|where records go"
-- The last of these is empty for an open stream. It is `soon` for one that takes what is left of the tiles it replaces, and
-- nothing else before its owner has begun. For a closed one it is `finer` after a split (to the child that a record's place
-- lies in), else the parent's tile id. Who opened and closed it last tells one life of a tile from the next.
local HEADS = KEYS[1]

local function digits(number)
  return string.format('%.0f', number)
end

local function head_of(tile)
  local sequence, opened, closed, onward =
    string.match(redis.call('HGET', HEADS, tile) or '0|0|0|', '^(%d+)|(%d+)|(%d+)|(.*)$')
  return {sequence = tonumber(sequence), opened = tonumber(opened), closed = tonumber(closed), onward = onward}
end

local function keep(tile, head)
  redis.call('HSET', HEADS, tile,
    digits(head.sequence) .. '|' .. digits(head.opened) .. '|' .. digits(head.closed) .. '|' .. head.onward)
end

local function is_closed(head)
  return head.closed > 0 and head.closed >= head.opened
end

local function append(stream, tile, head, payload, count, length_max)
  head.sequence = head.sequence + count
  redis.call('XADD', stream, 'MAXLEN', '~', length_max, digits(head.sequence) .. '-0', 'records', payload)
  keep(tile, head)
end
