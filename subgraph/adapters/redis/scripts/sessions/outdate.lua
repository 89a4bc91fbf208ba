-- Drop copies below a revision, and claims: what their holders read may be older. Fences stay.
-- KEYS: places    ARGV: for each place the revision, or nothing for any
for i, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok == 'string' then
    local revision = string.match(redis.call('GET', key), '^B(%d+)|')
    if ARGV[i] == '' or revision == nil or tonumber(revision) < tonumber(ARGV[i]) then
      redis.call('DEL', key)
    end
  end
end
