-- Puts a claimed job back, because its worker stops or its attempt failed before anything was sent.
-- KEYS 1 job, 2 running, 3 delayed, 4 waiting, 5 pace, 6 deadlines
-- ARGV 1 id, 2 epoch, 3 delay ms, 4 failures to add, 5 wake channel
-- Returns 1, or 0 when the job has another owner or is gone: then nothing is changed
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('HINCRBY', KEYS[1], 'failures', ARGV[4])
redis.call('ZADD', KEYS[6], string.format('%.0f', now + redis.call('HGET', KEYS[1], 'queue_timeout_ms')), ARGV[1])
if tonumber(ARGV[3]) > 0 then
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
else
  -- The score of the last claim: ahead of everything that waits, behind nothing.
  redis.call('ZADD', KEYS[4], redis.call('HGET', KEYS[5], 'virtual') or '0', ARGV[1])
  redis.call('PUBLISH', ARGV[5], ARGV[1])
end
return 1
