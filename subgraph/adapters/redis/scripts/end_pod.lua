-- The pod leaves. ARGV: pod id, token, record. Returns the version.
if not is_instance(ARGV[1], ARGV[2]) then return lease_lost(ARGV[1]) end
local version = reserve(1)
if not version then return NOT_ADOPTED end
forget_instance(ARGV[1])
redis.call('HSET', PODS, ARGV[1], digits(version) .. '|' .. ARGV[3])
publish_change(version, {}, {ARGV[1], ARGV[3]})
return digits(version)
