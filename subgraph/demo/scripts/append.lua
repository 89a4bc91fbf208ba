-- Append a batch to each of some streams. KEYS: heads, then the streams.
-- ARGV: length of a stream, then per stream (tile id, number of records, records). Returns per stream 1, or 0: it is not open.
local length_max = ARGV[1]
local answers = {}
for index = 2, #KEYS do
  local tile, count, payload = ARGV[3 * index - 4], tonumber(ARGV[3 * index - 3]), ARGV[3 * index - 2]
  local head = head_of(tile)
  if head.onward == '' then
    append(KEYS[index], tile, head, payload, count, length_max)
    table.insert(answers, 1)
  else
    table.insert(answers, 0)
  end
end
return answers
