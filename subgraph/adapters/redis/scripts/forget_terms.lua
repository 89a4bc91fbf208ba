-- Forget the notes for history up to one, which was recorded. ARGV: the number of changes noted up to there.
local last = tonumber(ARGV[1])
if last > changes_done() then
  redis.call('XTRIM', TERMS, 'MINID', digits(last + 1))
  redis.call('HSET', META, 'terms_done', digits(last))
end
return 'OK'
