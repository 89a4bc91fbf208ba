-- Renew a pod's lease and, in the same step, hand in a load report. The session manager calls it for pods that renew over
-- GraphQL; a pod that reaches Redis may call it itself.
-- KEYS: tokens   hash    pod id -> "lease token|lease in ms"; present while an instance of the pod runs
--       leases   zset    pod id -> end of its lease, ms
--       applied  hash    pod id -> newest version of its assignments that the pod has applied
--       loads    stream  load reports of the last seconds
--       intake   hash    since (beginning of this period, ms), bytes (taken in it), former (taken in the one before)
-- ARGV: pod id, lease token, applied version or '', and with a report its columns: sessions (lines "count session id"),
--       cells, epochs, records_per_second, bytes_per_second, volume_bytes, backlog (8 bytes a tile, lowest first; the
--       last three may be empty)
-- Returns: OK, or SLOW: the lease is renewed, but the report was not taken, since too much was handed in of late.
-- Errors: LEASELOST superseded (another instance runs), LEASELOST ended (none does), TOOLARGE (the report), NOTADOPTED
--       (nobody has led the fleet here since the server was started or emptied: it may have forgotten who runs)
local TOKENS, LEASES, APPLIED, LOADS, INTAKE = unpack(KEYS)
local pod_id, token, applied = ARGV[1], ARGV[2], ARGV[3]
local REPORTS_KEPT_MS = 10000
local REPORTS_KEPT_BYTES_MAX = 268435456
local REPORT_BYTES_MAX = 2000000
local ENTRY_OVERHEAD_BYTES = 200
local COLUMNS = {'sessions', 'cells', 'epochs', 'records_per_second', 'bytes_per_second', 'volume_bytes', 'backlog'}

-- The one key that is not handed over, since whoever hands a key over must have the right to write it. It is only read,
-- and only before an instance is refused: run_id is that of the server on which the fleet is led.
local function lease_lost(why)
  local meta = string.gsub(TOKENS, 'tokens$', 'meta')
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if redis.call('HGET', meta, 'run_id') ~= run_id then
    return {err = 'NOTADOPTED no leader has taken over the live store since it was restarted, replaced or emptied'}
  end
  return {err = 'LEASELOST ' .. why}
end
local held = redis.call('HGET', TOKENS, pod_id)
if not held then return lease_lost('ended') end
local holder, lease_ms = string.match(held, '^([^|]*)|(%d+)$')
if holder ~= token then return lease_lost('superseded') end
local size = 0
for at = 4, #ARGV do size = size + #ARGV[at] end
if size > REPORT_BYTES_MAX then
  return {err = 'TOOLARGE a load report has at most ' .. REPORT_BYTES_MAX .. ' bytes, not ' .. size}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function digits(number)
  return string.format('%.0f', number)
end
redis.call('ZADD', LEASES, digits(now + lease_ms), pod_id)
if applied ~= '' then redis.call('HSET', APPLIED, pod_id, applied) end
if #ARGV < 4 then return 'OK' end

-- What is kept is at most what came in this period and the one before it, each as long as reports are kept.
local intake = redis.call('HMGET', INTAKE, 'since', 'bytes', 'former')
local since, bytes, former = tonumber(intake[1] or 0), tonumber(intake[2] or 0), tonumber(intake[3] or 0)
if now < since or now >= since + 2 * REPORTS_KEPT_MS then
  since, bytes, former = now, 0, 0
elseif now >= since + REPORTS_KEPT_MS then
  since, bytes, former = since + REPORTS_KEPT_MS, 0, bytes
end
size = size + ENTRY_OVERHEAD_BYTES
if former + bytes + size > REPORTS_KEPT_BYTES_MAX then return 'SLOW' end
redis.call('HSET', INTAKE, 'since', digits(since), 'bytes', digits(bytes + size), 'former', digits(former))

local entry = {'pod', pod_id}
for column, name in ipairs(COLUMNS) do
  table.insert(entry, name)
  table.insert(entry, ARGV[3 + column] or '')
end
redis.call('XADD', LOADS, 'MINID', '~', digits(now - REPORTS_KEPT_MS), '*', unpack(entry))
return 'OK'
