-- Reserve versions as epochs. ARGV: incarnation, token, count, version they must be above. Returns the first.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
local first = reserve(tonumber(ARGV[3]))
-- A store that was put back to an earlier state under its leader would give versions out twice.
return first > tonumber(ARGV[4]) and digits(first) or NOT_LEADING
