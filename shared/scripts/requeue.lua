-- Puts a claimed job back, because its worker stops or its attempt failed.
-- KEYS 1 job, 2 running, 3 delayed, 4 waiting, 5 pace, 6 deadlines
-- ARGV 1 id, 2 epoch, 3 delay ms, 4 wake channel, 5 failures to add,
--      6 ms for which the worker that had it leaves it to others, 7 terminal event that it ends with if nobody takes it
--      in time (empty: none in particular)
-- Returns 1, or 0 when the job has another owner or is gone: then nothing is changed
local id = ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'queue_timeout_ms', 'timeout_ms', 'started_ms')
if state[1] ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[2], id)
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('HINCRBY', KEYS[1], 'failures', ARGV[5])
if tonumber(ARGV[6]) > 0 then
  redis.call('HSET', KEYS[1], 'avoid', state[2], 'avoid_until_ms', string.format('%.0f', now + ARGV[6]))
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'fault', ARGV[7]) end
local due = math.min(now + state[3], (state[5] or now) + state[4])
redis.call('ZADD', KEYS[6], string.format('%.0f', due), id)
if tonumber(ARGV[3]) > 0 then
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(ARGV[3])), id)
else
  -- The score of the last claim: ahead of everything that waits, behind nothing.
  redis.call('ZADD', KEYS[4], redis.call('HGET', KEYS[5], 'virtual') or '0', id)
  redis.call('PUBLISH', ARGV[4], id)
end
return 1
