-- Move what is left of an entry of a closed stream to other streams, once, whoever else tries. With no entry: nothing is
-- left, so what comes when the tile is there again goes on after what was accepted of it.
-- KEYS: heads, the closed stream, then the other streams. ARGV: length of a stream, tile id, epoch it was opened at, entry
-- id or '', last sequence accepted, then per other stream (tile id, number of records, records).
-- Returns: MOVED, GONE (somebody else moved it), OPEN (the tile is there again) or the tile whose stream is closed by now.
local length_max, tile, opened, entry, accepted = unpack(ARGV, 1, 5)
local head = head_of(tile)
if not is_closed(head) or digits(head.opened) ~= opened then return 'OPEN' end
if entry == '' then
  if redis.call('XLEN', KEYS[2]) > 0 then return 'GONE' end
  redis.call('DEL', KEYS[2])
  head.sequence = tonumber(accepted)
  keep(tile, head)
  return 'MOVED'
end
for index = 3, #KEYS do
  local target = ARGV[3 * index - 3]
  if is_closed(head_of(target)) then return target end
end
if redis.call('XDEL', KEYS[2], entry) == 0 then return 'GONE' end
for index = 3, #KEYS do
  local at = 3 * index - 3
  append(KEYS[index], ARGV[at], head_of(ARGV[at]), ARGV[at + 2], tonumber(ARGV[at + 1]), length_max)
end
return 'MOVED'
