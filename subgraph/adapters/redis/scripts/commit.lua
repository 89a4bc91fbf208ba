-- Write tiles and pods that still compare equal, as one change; of a group of tiles all, or none. What it makes of
-- tiles with terms is noted for history.
-- ARGV: guard ('leader' incarnation token | 'pod' pod_id token | 'none' '' ''), most changes to keep for history,
--   pod count, then per pod (id, expected version, '1' if only with an ended lease, record or ''), then per tile
--   (id, expected version, record or '', number of its group or '0', pod of which no instance may run or '').
-- Returns: {version ('0' if nothing was written), ids of pods not written, ids of tiles not written}
local NOTES_PER_ENTRY = 100
local guard, guard_id, token = ARGV[1], ARGV[2], ARGV[3]
if guard == 'leader' and not leads(guard_id, token) then return NOT_LEADING end
if guard == 'pod' and not is_instance(guard_id, token) then return lease_lost(guard_id) end
if not is_adopted() then return NOT_ADOPTED end

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
  local lost = ARGV[at + 4]
  stored[at] = redis.call('HGET', TILES, ARGV[at])
  return version_of(stored[at]) ~= ARGV[at + 1] or (lost ~= '' and redis.call('HEXISTS', TOKENS, lost) == 1)
end
for at = tiles_from, #ARGV, 5 do
  if ARGV[at + 3] ~= '0' and is_changed(at) then broken[ARGV[at + 3]] = true end
end
for at = tiles_from, #ARGV, 5 do
  local id, record, group = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  if broken[group] or (group == '0' and is_changed(at)) then
    table.insert(tile_conflicts, id)
  else
    table.insert(tiles, id)
    table.insert(tiles, record)
    formers[#tiles / 2] = stored[at]
  end
end
if #pods == 0 and #tiles == 0 then return {'0', pod_conflicts, tile_conflicts} end

local version = reserve(1)
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
local function has_terms(stored)
  return string.find(stored, ',["', 1, true)
end
local notes = {}
for at = 1, #tiles, 2 do
  local former, record = formers[(at + 1) / 2] or '', tiles[at + 1]
  if has_terms(former) or has_terms(record) then
    local last = #notes
    notes[last + 1], notes[last + 2], notes[last + 3] = tiles[at], former, record
  end
end
if #notes > 0 then
  local noted
  for at = 1, #notes, 3 * NOTES_PER_ENTRY do
    local some = {unpack(notes, at, math.min(at + 3 * NOTES_PER_ENTRY - 1, #notes))}
    noted = redis.call('HINCRBY', META, 'terms_noted', #some / 3)
    redis.call('XADD', TERMS, digits(noted), 'changes', cmsgpack.pack({digits(version), digits(now), some}))
  end
  local done = changes_done()
  if noted - done > noted_max then
    local oldest_kept = redis.call('XRANGE', TERMS, digits(noted - noted_max + 1), '+', 'COUNT', 1)[1][1]
    local last = redis.call('XREVRANGE', TERMS, '(' .. oldest_kept, '-', 'COUNT', 1)[1]
    if last then
      local last_dropped = string.match(last[1], '^%d+')
      redis.call('XTRIM', TERMS, 'MINID', oldest_kept)
      redis.call('HSET', META, 'terms_done', last_dropped)
      redis.call('HINCRBY', META, 'terms_dropped', digits(tonumber(last_dropped) - done))
    end
  end
end
return {digits(version), pod_conflicts, tile_conflicts}
