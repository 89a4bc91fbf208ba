-- How many announcements there were. A store that knows none, because it is new or was emptied, begins another line.
-- KEYS: standing    ARGV: name of the line, if one begins    Returns: {run id, line, count}
redis.call('HSETNX', KEYS[1], 'line', ARGV[1])
local line, count = unpack(redis.call('HMGET', KEYS[1], 'line', 'count'))
return {string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '', line, tonumber(count or 0)}
