-- The pulse. Returns: {now, run id, incarnation, published version, leader's name, cycle report, leases, applied
-- versions, pause, changes that history has not recorded, changes it will never hear of}
local holder = redis.call('GET', LEADER)
return {
  digits(now_ms()),
  run_id(),
  redis.call('HGET', META, 'incarnation') or '0',
  redis.call('HGET', META, 'published') or '0',
  holder and string.match(holder, '|(.*)$') or '',
  redis.call('GET', CYCLE) or '',
  redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', APPLIED),
  redis.call('GET', PAUSE) or '',
  digits(tonumber(redis.call('HGET', META, 'terms_noted') or '0') - changes_done()),
  redis.call('HGET', META, 'terms_dropped') or '0',
}
