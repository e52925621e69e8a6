-- Lists jobs that nobody waits for any longer, without changing anything.
-- KEYS 1 deadlines or attended
-- ARGV 1 most ids
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[1])
