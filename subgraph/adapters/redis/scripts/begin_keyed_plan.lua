-- Remember a plan for a client's key, or return what is remembered for it. ARGV: incarnation, token, key of the plan, plan,
-- how long it is kept in ms, key of the list of such keys, how many of them are kept.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
local before = redis.call('GET', ARGV[3])
if before then return before end
redis.call('SET', ARGV[3], ARGV[4], 'PX', ARGV[5])
redis.call('LREM', ARGV[6], 0, ARGV[3])
redis.call('LPUSH', ARGV[6], ARGV[3])
while redis.call('LLEN', ARGV[6]) > tonumber(ARGV[7]) do
  redis.call('DEL', redis.call('RPOP', ARGV[6]))
end
return false
