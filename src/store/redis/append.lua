-- Arguments: the entry, milliseconds to keep it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Only from the head, and each by its own time: a reader whose place is gone then knows that whatever is left is new.
local over = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 16)) do
  local keep = 0
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'k' then keep = tonumber(entry[2][i + 1]) or 0 end
  end
  if tonumber(string.match(entry[1], '^%d+')) + keep > now then break end
  over[#over + 1] = entry[1]
end
if #over > 0 then redis.call('XDEL', KEYS[1], unpack(over)) end
redis.call('XADD', KEYS[1], '*', 'k', ARGV[2], 'd', ARGV[1])
-- The stream goes when its last entry is over.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {time[1], time[2]}
