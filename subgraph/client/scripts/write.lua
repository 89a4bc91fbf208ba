-- Pass the fence and write, for each of many writes, as one step that nothing can come between.
-- KEYS: positions  hash    tile id -> "highest epoch seen|last accepted sequence"
--       payloads   hash    tile id -> payload of the last accepted sequence
--       totals     hash    accepted, duplicates, refused, missed: records since ever
--       accepted   stream  what was accepted, for the audit: tile, first, count, epoch, writer
-- ARGV: writer, length of the stream, then per write (tile id, epoch, payload of its highest sequence, number of runs),
--       each followed by its runs of consecutive sequences: (first, count).
-- Returns, per write: {1, accepted, duplicates, missed, last sequence}, or {0, highest epoch} if the fence refused it.
local POSITIONS, PAYLOADS, TOTALS, ACCEPTED = unpack(KEYS)
local writer, stream_length = ARGV[1], ARGV[2]
local at = 3

-- Epochs and sequences stay below 2^53, so a Lua number holds them; `..` would print large ones in scientific notation.
local function digits(number)
  return string.format('%.0f', number)
end

local function record(tile, first, count, epoch)
  redis.call('XADD', ACCEPTED, 'MAXLEN', '~', stream_length, '*',
    'tile', tile, 'first', digits(first), 'count', digits(count), 'epoch', digits(epoch), 'writer', writer)
end

local function total(name, count)
  if count > 0 then redis.call('HINCRBY', TOTALS, name, digits(count)) end
end

local function refuse(runs_end, highest)
  local refused = 0
  for run = at, runs_end - 1, 2 do refused = refused + tonumber(ARGV[run + 1]) end
  total('refused', refused)
  return {0, highest}
end

local function accept(tile, epoch, payload, runs_end, highest, last)
  local before, accepted, duplicates, missed = last, 0, 0, 0
  for run = at, runs_end - 1, 2 do
    local first, count = tonumber(ARGV[run]), tonumber(ARGV[run + 1])
    local seen = math.max(0, math.min(count, last - first + 1))
    duplicates = duplicates + seen
    if seen < count then
      local fresh = first + seen
      missed = missed + fresh - last - 1
      accepted = accepted + count - seen
      last = first + count - 1
      record(tile, fresh, count - seen, epoch)
    end
  end
  if last > before then redis.call('HSET', PAYLOADS, tile, payload) end
  -- A raised epoch is news to the audit even before its first record.
  if epoch > highest and last == before then record(tile, last + 1, 0, epoch) end
  if epoch > highest or last > before then redis.call('HSET', POSITIONS, tile, digits(epoch) .. '|' .. digits(last)) end
  total('accepted', accepted)
  total('duplicates', duplicates)
  total('missed', missed)
  return {1, accepted, duplicates, missed, last}
end

local answers = {}
while at <= #ARGV do
  local tile, epoch, payload, runs_count = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local runs_end = at + 2 * runs_count
  local highest, last = string.match(redis.call('HGET', POSITIONS, tile) or '0|0', '^(%d+)|(%d+)$')
  highest, last = tonumber(highest), tonumber(last)
  if epoch < highest then
    table.insert(answers, refuse(runs_end, highest))
  else
    table.insert(answers, accept(tile, epoch, payload, runs_end, highest, last))
  end
  at = runs_end
end
return answers
