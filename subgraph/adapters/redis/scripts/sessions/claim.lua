-- Claim the places that are free. A place holds a copy ("B...") or a claim ("C...") as a string, or fences as a zset.
-- KEYS: places    ARGV: claim, ms it lives    Returns, for each place: 1 claimed, 0 somebody else's, -1 fenced
local answers = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, 'C' .. ARGV[1], 'NX', 'PX', ARGV[2]) then
    answers[i] = 1
  else
    answers[i] = redis.call('TYPE', key).ok == 'zset' and -1 or 0
  end
end
return answers
