-- Make a token the pod's one instance, with a fresh lease. ARGV: pod id, token, lease in ms, record. Returns the version.
local version = reserve(1)
if not version then return NO_INCARNATION end
redis.call('HSET', PODS, ARGV[1], digits(version) .. '|' .. ARGV[4])
redis.call('HSET', TOKENS, ARGV[1], ARGV[2] .. '|' .. ARGV[3])
redis.call('HDEL', APPLIED, ARGV[1])
renew(ARGV[1])
publish_change(version, {}, {ARGV[1], ARGV[4]})
return digits(version)
