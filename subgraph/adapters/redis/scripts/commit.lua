-- Write tiles and pods that still compare equal, as one change; of a group of tiles all, or none.
-- ARGV: guard ('leader' incarnation token | 'pod' pod_id token | 'none' '' ''), pod count, then per pod
--   (id, expected version, '1' if only with an ended lease, record or ''), then per tile
--   (id, expected version, record or '', number of its group or '0').
-- Returns: {version ('0' if nothing was written), ids of pods not written, ids of tiles not written}
local guard, guard_id, token = ARGV[1], ARGV[2], ARGV[3]
if guard == 'leader' and not leads(guard_id, token) then return NOT_LEADING end
if guard == 'pod' and not is_instance(guard_id, token) then return lease_lost(guard_id) end

local pods_count = tonumber(ARGV[4])
local tiles_from = 5 + 4 * pods_count
local pods, tiles, pod_conflicts, tile_conflicts = {}, {}, {}, {}
local now = now_ms()

for at = 5, tiles_from - 1, 4 do
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
local broken = {}
local function is_changed(at)
  return version_of(redis.call('HGET', TILES, ARGV[at])) ~= ARGV[at + 1]
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
return {digits(version), pod_conflicts, tile_conflicts}
