-- Renew a pod's lease. ARGV: pod id, token, applied version or '', load report or '', for how long reports are kept, ms.
if not is_instance(ARGV[1], ARGV[2]) then return lease_lost(ARGV[1]) end
renew(ARGV[1])
if ARGV[3] ~= '' then redis.call('HSET', APPLIED, ARGV[1], ARGV[3]) end
if ARGV[4] ~= '' then redis.call('XADD', LOADS, 'MINID', '~', digits(now_ms() - ARGV[5]), '*', 'batch', ARGV[4]) end
return 'OK'
