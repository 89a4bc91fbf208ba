-- Open the stream of a tile whose owner begins, unless it has been closed since. KEYS: heads. ARGV: tile id.
local head = head_of(ARGV[1])
if not is_closed(head) then
  head.onward = ''
  keep(ARGV[1], head)
end
return 'OK'
