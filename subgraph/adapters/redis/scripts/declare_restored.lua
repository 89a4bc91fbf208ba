-- What the beginning of the era left open is settled. ARGV: incarnation, token.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
redis.call('HSET', META, 'restored', redis.call('HGET', META, 'era'))
return 'OK'
