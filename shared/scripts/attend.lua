-- Says whether a gateway has readers of some jobs, and with that until when these may go on; ended jobs stay gone.
-- KEYS 1 attended, 2… per job: its readers
-- ARGV 1 the gateway's channel, 2 ms for which its readers are believed in (0: they have left), 3 ms for which a job
--      goes on without readers, 4… job ids
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for index = 4, #ARGV do
  local id, readers = ARGV[index], KEYS[index - 2]
  if redis.call('ZSCORE', KEYS[1], id) then
    if tonumber(ARGV[2]) > 0 then
      redis.call('ZADD', readers, string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
    else
      redis.call('ZREM', readers, ARGV[1])
    end
    local last = redis.call('ZRANGE', readers, -1, -1, 'WITHSCORES')  -- perhaps another gateway's
    local read_until = math.max(tonumber(last[2] or '0'), now)
    redis.call('PEXPIRE', readers, string.format('%.0f', read_until - now + 1000))
    redis.call('ZADD', KEYS[1], string.format('%.0f', read_until + tonumber(ARGV[3])), id)
  end
end
return #ARGV - 3
