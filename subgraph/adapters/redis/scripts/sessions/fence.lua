-- Fence places: no copies, no claims, until every fence is lifted or has ended by itself.
-- KEYS: places    ARGV: run id for which they are named, token, ms the fence lives    Returns: the store's run id
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
if run ~= ARGV[1] then return run end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for _, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok ~= 'zset' then
    redis.call('DEL', key)
  end
  -- Of a process that died between its fence and its commit nothing stays for longer than its own time.
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms)
  redis.call('ZADD', key, now_ms + ARGV[3], ARGV[2])
  redis.call('PEXPIRE', key, ARGV[3])
end
return run
