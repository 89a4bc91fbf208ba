-- Put a raised incarnation in force. ARGV: incarnation, token, highest version that is known to have been given out.
-- Where the store may have forgotten anything, an era begins with it: all pods must register anew. Returns 1 then, else 0.
local holder = redis.call('GET', LEADER)
if not holder or string.match(holder, '^([^|]*)|') ~= ARGV[2] then return NOT_LEADING end
local current = redis.call('HGET', META, 'incarnation') or '0'
if tonumber(current) >= tonumber(ARGV[1]) then return {err = 'BEHIND ' .. current} end
local published = tonumber(redis.call('HGET', META, 'published') or '0')
local has_forgotten = not is_adopted() or published < tonumber(ARGV[3])
redis.call('HSET', META, 'incarnation', ARGV[1], 'run_id', run_id(), 'counter', 0)
if has_forgotten then
  redis.call('HSET', META, 'era', ARGV[1])
  redis.call('HDEL', META, 'restored')
  redis.call('DEL', TOKENS, LEASES, APPLIED)
end
publish_change(reserve(1), {}, {})
return has_forgotten and 1 or 0
