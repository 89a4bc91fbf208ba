-- Put a raised incarnation in force. ARGV: incarnation, token.
local holder = redis.call('GET', LEADER)
if not holder or string.match(holder, '^([^|]*)|') ~= ARGV[2] then return NOT_LEADING end
local current = tonumber(redis.call('HGET', META, 'incarnation') or '0')
if current >= tonumber(ARGV[1]) then return NOT_LEADING end
redis.call('HSET', META, 'incarnation', ARGV[1], 'run_id', run_id(), 'counter', 0)
publish_change(reserve(1), {}, {})
return 'OK'
