-- Renew the leader's lease, or with a lease of 0 give it up. ARGV: incarnation, token, lease in ms.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
if ARGV[3] == '0' then redis.call('DEL', LEADER) else redis.call('PEXPIRE', LEADER, ARGV[3]) end
return 'OK'
