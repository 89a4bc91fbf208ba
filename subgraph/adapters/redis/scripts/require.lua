-- Note what a session requires of all its tiles, unless that of a later revision is noted; or forget it.
-- ARGV: session id, revision, requirement or ''. Returns the version of the change, '0' if there was nothing to write.
local noted = redis.call('HGET', REQUIREMENTS, ARGV[1])
if ARGV[3] == '' and not noted then return '0' end
if ARGV[3] ~= '' and tonumber(version_of(noted)) >= tonumber(ARGV[2]) then return '0' end
local version = reserve(1)
if not version then return NOT_ADOPTED end
if ARGV[3] == '' then
  redis.call('HDEL', REQUIREMENTS, ARGV[1])
else
  redis.call('HSET', REQUIREMENTS, ARGV[1], ARGV[2] .. '|' .. ARGV[3])
end
publish_change(version, {}, {}, {ARGV[1], ARGV[3]})
return digits(version)
