-- Take the leader's lease if it is free or ours. ARGV: token, name, lease in ms. Returns 1 or 0.
local holder = redis.call('GET', LEADER)
if holder and string.match(holder, '^([^|]*)|') ~= ARGV[1] then return 0 end
redis.call('SET', LEADER, ARGV[1] .. '|' .. ARGV[2], 'PX', ARGV[3])
return 1
