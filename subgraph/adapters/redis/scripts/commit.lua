-- Write tiles and pods that still compare equal, as one change; of a group of tiles all, or none. What it makes of
-- tiles with terms is noted for history.
-- ARGV: guard ('leader' incarnation token | 'pod' pod_id token | 'none' '' ''), most changes to keep for history,
--   pod count, then per pod (id, expected version, '1' if only with an ended lease, record or ''), then per tile
--   (id, expected version, record or '', number of its group or '0').
-- Returns: {version ('0' if nothing was written), ids of pods not written, ids of tiles not written}
local guard, guard_id, token = ARGV[1], ARGV[2], ARGV[3]
if guard == 'leader' and not leads(guard_id, token) then return NOT_LEADING end
if guard == 'pod' and not is_instance(guard_id, token) then return lease_lost(guard_id) end

local noted_max, pods_count = tonumber(ARGV[4]), tonumber(ARGV[5])
local tiles_from = 6 + 4 * pods_count
local pods, tiles, formers, pod_conflicts, tile_conflicts = {}, {}, {}, {}, {}
local now = now_ms()

for at = 6, tiles_from - 1, 4 do
  local id, expected, only_ended, record = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local lease_end = tonumber(redis.call('ZSCORE', LEASES, id) or '0')
  if version_of(redis.call('HGET', PODS, id)) ~= expected or (only_ended == '1' and lease_end > now) then
    table.insert(pod_conflicts, id)
  else
    table.insert(pods, id)
    table.insert(pods, record)
    if only_ended == '1' or record == '' then forget_instance(id) end
  end
end
local broken, stored = {}, {}
local function is_changed(at)
  stored[at] = redis.call('HGET', TILES, ARGV[at])
  return version_of(stored[at]) ~= ARGV[at + 1]
end
for at = tiles_from, #ARGV, 4 do
  if ARGV[at + 3] ~= '0' and is_changed(at) then broken[ARGV[at + 3]] = true end
end
for at = tiles_from, #ARGV, 4 do
  local id, record, group = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  if broken[group] or (group == '0' and is_changed(at)) then
    table.insert(tile_conflicts, id)
  else
    table.insert(tiles, id)
    table.insert(tiles, record)
    table.insert(formers, stored[at] and string.match(stored[at], '|(.*)$') or '')
  end
end
if #pods == 0 and #tiles == 0 then return {'0', pod_conflicts, tile_conflicts} end

local version = reserve(1)
if not version then return NO_INCARNATION end
local function write(key, records)
  for at = 1, #records, 2 do
    if records[at + 1] == '' then
      redis.call('HDEL', key, records[at])
    else
      redis.call('HSET', key, records[at], digits(version) .. '|' .. records[at + 1])
    end
  end
end
write(PODS, pods)
write(TILES, tiles)
publish_change(version, tiles, pods)
-- A term is a list that begins with the pod's id; where other lists of names look the same, a note too many is made.
local function has_terms(record)
  return string.find(record, ',["', 1, true)
end
local noted = 0
for at = 1, #tiles, 2 do
  local id, former, record = tiles[at], formers[(at + 1) / 2], tiles[at + 1]
  if has_terms(former) or has_terms(record) then
    local facts = {'version', digits(version), 'at', digits(now), 'tile', id, 'before', former, 'after', record}
    redis.call('XADD', TERMS, '*', unpack(facts))
    noted = noted + 1
  end
end
if noted > 0 then
  local dropped = redis.call('XTRIM', TERMS, 'MAXLEN', noted_max)
  if dropped > 0 then redis.call('HINCRBY', META, 'terms_dropped', dropped) end
end
return {digits(version), pod_conflicts, tile_conflicts}
