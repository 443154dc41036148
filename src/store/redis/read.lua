local time = redis.call('TIME')
local record = redis.call('HMGET', KEYS[1], 'v', 'd')
return {time[1], time[2], record[1], record[2]}
