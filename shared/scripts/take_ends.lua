-- Lends ends of jobs that PostgreSQL lacks to one gateway, for a while.
-- KEYS 1 unstored, 2 ends
-- ARGV 1 most of them, 2 lease ms
-- Returns {id, how it ended (JSON), …}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local ended = redis.call('HGET', KEYS[2], id)
  if ended then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), id)
    taken[#taken + 1] = id
    taken[#taken + 1] = ended
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return taken
