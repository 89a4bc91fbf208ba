-- Reserve versions as epochs. ARGV: incarnation, token, count. Returns the first.
if not leads(ARGV[1], ARGV[2]) then return NOT_LEADING end
local first = reserve(tonumber(ARGV[3]))
return first and digits(first) or NO_INCARNATION
