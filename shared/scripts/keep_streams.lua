-- Says of streams that they are open still, or that they are closed.
-- KEYS per stream and limit that it counts towards: the set of open streams
-- ARGV 1 ms for which they are taken to be open (0: they are closed), then per key: the stream's id
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local open_until = string.format('%.0f', now + tonumber(ARGV[1]))
for index, streams in ipairs(KEYS) do
  if ARGV[1] == '0' then
    redis.call('ZREM', streams, ARGV[index + 1])
  else
    redis.call('ZADD', streams, open_until, ARGV[index + 1])
    redis.call('PEXPIRE', streams, ARGV[1])
  end
end
return #KEYS
