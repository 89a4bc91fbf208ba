-- Make a token the pod's one instance, with a fresh lease. ARGV: pod id, token, lease in ms, record, era it was made
-- for, what it held before that era or ''. Returns the version.
if redis.call('HGET', META, 'era') ~= ARGV[5] then return NOT_ADOPTED end
local version = reserve(1)
if not version then return NOT_ADOPTED end
redis.call('HSET', PODS, ARGV[1], digits(version) .. '|' .. ARGV[4])
redis.call('HSET', TOKENS, ARGV[1], ARGV[2] .. '|' .. ARGV[3])
redis.call('HDEL', APPLIED, ARGV[1])
-- Who registers once more before its claims are decided may have put down what it held: they stay.
if ARGV[6] ~= '' then redis.call('HSET', CLAIMS, ARGV[1], digits(version) .. '|' .. ARGV[6]) end
renew(ARGV[1])
publish_change(version, {}, {ARGV[1], ARGV[4]})
return digits(version)
