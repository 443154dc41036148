-- Arguments: the id of the last entry seen or nothing, how many entries at most.
local time = redis.call('TIME')
local seen = ARGV[1]
-- Entries leave from the head only. One that was seen and is gone was either trimmed, then all that is left is newer,
-- or lost with its stream, then all that is left must be read again: from the beginning in both cases.
if seen ~= '' and #redis.call('XRANGE', KEYS[1], seen, seen) == 0 then seen = '' end
local answer = {time[1], time[2], seen}
local from = seen ~= '' and seen or '0-0'
local streams = redis.call('XREAD', 'COUNT', ARGV[2], 'STREAMS', KEYS[1], from)
if not streams then return answer end
for _, entry in ipairs(streams[1][2]) do
  answer[3] = entry[1]
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'd' then answer[#answer + 1] = entry[2][i + 1] end
  end
end
return answer
