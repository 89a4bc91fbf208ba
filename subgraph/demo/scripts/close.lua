-- Close the stream of a tile that others replace, and have theirs take what is left in it; once, whoever else tries.
-- KEYS: heads. ARGV: tile id, epoch of a tile in its place, where its records go, ids of all tiles directly in its place.
-- Returns the epoch at which it was opened, or -1: the tile is there again since, at a later epoch.
local tile, epoch, onward = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local head = head_of(tile)
if epoch < head.opened then return '-1' end
if is_closed(head) then return digits(head.opened) end
head.closed, head.onward = epoch, onward
keep(tile, head)
for index = 4, #ARGV do
  local successor = head_of(ARGV[index])
  successor.opened, successor.onward = epoch, 'soon'
  keep(ARGV[index], successor)
end
return digits(head.opened)
