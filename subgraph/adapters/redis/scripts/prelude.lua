-- What every script of the fleet shares. All keys of a fleet have one hash tag, so a script may touch any of them.
--   META     hash    incarnation, run_id (of the server it began on), counter (of versions given out), published
--                    (version of the newest change), era (incarnation that began after the store last forgot writes),
--                    restored (era of which all that was lost is restored); of the changes of tiles with terms, how many
--                    were noted for history (terms_noted), are recorded or dropped (terms_done), and were dropped
--                    (terms_dropped)
--   TILES    hash    tile id -> "version|record as JSON"
--   PODS     hash    pod id  -> "version|record as JSON"
--   TOKENS   hash    pod id  -> "lease token|lease in ms"; present while an instance is live
--   LEASES   zset    pod id  -> end of its lease, ms
--   APPLIED  hash    pod id  -> version the pod has applied
--   CLAIMS   hash    pod id  -> "version of its registration|what it held before the era, packed"
--   LEADER   string  "token|name", with the lease as its time to live
--   LOADS    stream  load reports; which columns they have says subgraph/client/scripts/renew_lease.lua
--   CYCLE    string  report of the last control cycle
--   PAUSE    string  who paused rebalancing, until when and why; lives until then
--   REQUIREMENTS  hash  session id -> "revision of the session|what it requires of all its tiles, as JSON"
--   TERMS    stream  notes for history of changes of tiles with terms; the id of an entry is how many changes were
--                    noted up to and with it
--   CHANNEL  channel on which changes and cycle reports are published
local META, TILES, PODS, TOKENS, LEASES, APPLIED, CLAIMS = unpack(KEYS, 1, 7)
local LEADER, LOADS, CYCLE, PAUSE, REQUIREMENTS, TERMS, CHANNEL = unpack(KEYS, 8)

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Versions stay below 2^53, so a Lua number holds them; `..` would print large ones in scientific notation.
local function digits(number)
  return string.format('%.0f', number)
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end

-- A server that was restarted, took over from another or was emptied may have forgotten versions that it gave out. It
-- gives out no others, and nothing is written, before a leader has adopted it by beginning a term there.
local function is_adopted()
  return redis.call('HGET', META, 'run_id') == run_id()
end

local function reserve(count)
  if not is_adopted() then return nil end
  local incarnation = redis.call('HGET', META, 'incarnation')
  local last = redis.call('HINCRBY', META, 'counter', count)
  return tonumber(incarnation) * 4294967296 + last - count + 1
end

local function version_of(stored)
  return stored and string.match(stored, '^(%d+)|') or '0'
end

local function publish_change(version, tiles, pods, requirements)
  local previous = redis.call('HGET', META, 'published') or '0'
  redis.call('HSET', META, 'published', digits(version))
  redis.call('PUBLISH', CHANNEL,
    cmsgpack.pack({'change', previous, digits(version), tiles, pods, requirements or {}, digits(now_ms())}))
end

local function changes_done()
  return tonumber(redis.call('HGET', META, 'terms_done') or '0')
end

-- A term is over with the run of the store it began on, even in the middle of a leader's turn.
local function leads(incarnation, token)
  local holder = redis.call('GET', LEADER)
  return holder and string.match(holder, '^([^|]*)|') == token
    and redis.call('HGET', META, 'incarnation') == incarnation
    and is_adopted()
end

local function is_instance(pod_id, token)
  local held = redis.call('HGET', TOKENS, pod_id)
  return held and string.match(held, '^([^|]*)|') == token
end

local function renew(pod_id)
  local lease_ms = tonumber(string.match(redis.call('HGET', TOKENS, pod_id), '|(%d+)$'))
  redis.call('ZADD', LEASES, digits(now_ms() + lease_ms), pod_id)
end

local function forget_instance(pod_id)
  redis.call('HDEL', TOKENS, pod_id)
  redis.call('HDEL', APPLIED, pod_id)
  redis.call('HDEL', CLAIMS, pod_id)
  redis.call('ZREM', LEASES, pod_id)
end

local NOT_LEADING = {err = 'NOTLEADING another process leads, or a newer incarnation is in force'}
local NOT_ADOPTED = {err = 'NOTADOPTED no leader has taken over the live store since it was restarted, replaced or emptied'}
local function lease_lost(pod_id)
  -- Whoever has registered where, the store may have forgotten it.
  if not is_adopted() then return NOT_ADOPTED end
  local superseded = redis.call('HEXISTS', TOKENS, pod_id) == 1
  return {err = superseded and 'LEASELOST superseded' or 'LEASELOST ended'}
end
