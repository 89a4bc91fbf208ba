-- The pulse. Returns: {now, whether a leader has adopted this run of the store, incarnation, era, whether what the era
-- lost is restored, published version, leader's name, cycle report, leases, applied versions, pause, pods with claims,
-- changes that history has not recorded, changes it will never hear of}
local holder = redis.call('GET', LEADER)
local era = redis.call('HGET', META, 'era') or '0'
return {
  digits(now_ms()),
  is_adopted() and 1 or 0,
  redis.call('HGET', META, 'incarnation') or '0',
  era,
  redis.call('HGET', META, 'restored') == era and 1 or 0,
  redis.call('HGET', META, 'published') or '0',
  holder and string.match(holder, '|(.*)$') or '',
  redis.call('GET', CYCLE) or '',
  redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES'),
  redis.call('HGETALL', APPLIED),
  redis.call('GET', PAUSE) or '',
  redis.call('HLEN', CLAIMS),
  digits(tonumber(redis.call('HGET', META, 'terms_noted') or '0') - changes_done()),
  redis.call('HGET', META, 'terms_dropped') or '0',
}
