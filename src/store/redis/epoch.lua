-- Argument: the name of a new epoch, where there is none.
local time = redis.call('TIME')
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch)
end
return {time[1], time[2], epoch}
