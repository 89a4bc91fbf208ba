-- Lift a fence. Where it stands no more, its time was over or the store has forgotten it: what came then may be stale.
-- So may all in a store that runs anew, even if it still holds the fence: others look for copies in other places there.
-- KEYS: places    ARGV: run id for which they are named, token    Returns: for each place 1 if the fence stood, else 0
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local answers = {}
for i, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok == 'zset' then
    answers[i] = redis.call('ZREM', key, ARGV[2])
  else
    redis.call('DEL', key)
    answers[i] = 0
  end
  if run ~= ARGV[1] then
    answers[i] = 0
  end
end
return answers
