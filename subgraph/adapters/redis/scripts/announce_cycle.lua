-- Keep and publish the report of a finished cycle. ARGV: incarnation, token, report.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
redis.call('SET', CYCLE, ARGV[3])
redis.call('PUBLISH', CHANNEL, cmsgpack.pack({'cycle', ARGV[3]}))
return 'OK'
