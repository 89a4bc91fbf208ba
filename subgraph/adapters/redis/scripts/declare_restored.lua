-- What the beginning of the era left open is settled: 1; or 0, where a pod claims something that nobody has decided.
-- ARGV: incarnation, token.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
if redis.call('HLEN', CLAIMS) > 0 then return 0 end
redis.call('HSET', META, 'restored', redis.call('HGET', META, 'era'))
return 1
