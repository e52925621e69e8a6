-- Ends a job that its owner has brought to an end; its terminal event is already in the log. Runs after settle.lua and
-- pace.lua.
-- KEYS 1 job, 2 running, 3 payload, 4 log, 5 pace, 6 attended, 7 deadlines, 8 readers
-- ARGV 1 id, 2 epoch, 3 status, 4 service ms (0: not representative), 5 ms for which it stays on its owners' lists,
--      6 least number of entries of the log, 7 tokens that it has used (empty: Ollama has not said), 8 pieces of its
--      answer
-- Returns 1, or 0 when the job has another owner or is gone, or its log is not whole: then nothing is changed
local state = redis.call('HMGET', KEYS[1], 'epoch', 'retention_ms')
if state[1] ~= ARGV[2] or redis.call('XLEN', KEYS[4]) < tonumber(ARGV[6]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
redis.call('UNLINK', KEYS[3], KEYS[8])
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'ended_ms', string.format('%.0f', math.floor(now_us / 1000)))
settle({
  id = ARGV[1], hash = KEYS[1], used = tonumber(ARGV[7]), answered = tonumber(ARGV[8]), listed_ms = ARGV[5],
  now_us = now_us,
})
redis.call('PEXPIRE', KEYS[1], state[2])
redis.call('PEXPIRE', KEYS[4], state[2])
measure_service(KEYS[5], ARGV[4])
return 1
