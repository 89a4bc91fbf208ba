-- A pod's claims are decided, unless it has made others since. ARGV: incarnation, token, pod id, version of the claims.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
if version_of(redis.call('HGET', CLAIMS, ARGV[3])) == ARGV[4] then redis.call('HDEL', CLAIMS, ARGV[3]) end
return 'OK'
