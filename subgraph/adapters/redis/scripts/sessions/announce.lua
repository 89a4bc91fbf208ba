-- Announce what is outdated, as the next one of the line.
-- KEYS: standing    ARGV: channel, name of the line if one begins, what is outdated (MessagePack)
redis.call('HSETNX', KEYS[1], 'line', ARGV[2])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local count = redis.call('HINCRBY', KEYS[1], 'count', 1)
local standing = cmsgpack.pack({run, redis.call('HGET', KEYS[1], 'line'), count})
-- An array of two: what it holds is packed already.
redis.call('PUBLISH', ARGV[1], string.char(0x92) .. standing .. ARGV[3])
