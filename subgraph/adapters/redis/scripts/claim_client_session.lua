-- Whose a client's id is: the first one's who uses it, for as long as it keeps doing so.
-- KEYS: the mapping. ARGV: the owner, the milliseconds it lives. Returns the owner, and how often it has used the id.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then
  return {owner, 0}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
local count = redis.call('HINCRBY', KEYS[1], 'count', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], count}
