-- Take requests to the leader. ARGV: incarnation, token, key of the requests, at most. Returns {now, request, ...}
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
local requests = redis.call('LPOP', ARGV[3], ARGV[4]) or {}
return {digits(now_ms()), unpack(requests)}
