-- Arguments: the version seen or nothing, the new version, the value, milliseconds to keep it, channel or nothing, note.
local time = redis.call('TIME')
local record = redis.call('HMGET', KEYS[1], 'v', 'd')
if (record[1] or '') ~= ARGV[1] then
  return {time[1], time[2], record[1], record[2], 0}
end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'd', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[5] ~= '' then
  -- A note only saves waiting: a user who may not publish has written all the same.
  redis.pcall('PUBLISH', ARGV[5], ARGV[6])
end
return {time[1], time[2], false, false, 1}
