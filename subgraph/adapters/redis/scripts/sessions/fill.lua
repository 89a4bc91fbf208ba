-- Fill claimed places that are still the claim's; a fence, or the claim's end, has taken the others.
-- KEYS: places    ARGV: claim, ms a copy lives, for each place its copy, or nothing to leave it free
for i, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok == 'string' and redis.call('GET', key) == 'C' .. ARGV[1] then
    if ARGV[i + 2] == '' then
      redis.call('DEL', key)
    else
      redis.call('SET', key, ARGV[i + 2], 'PX', ARGV[2])
    end
  end
end
