-- Takes a durable job from its owner, who has brought it to an end, until a gateway has stored that; what its log has
-- is all but the terminal event. Runs after settle.lua and pace.lua.
-- KEYS 1 job, 2 running, 3 pace, 4 deadlines, 5 unstored, 6 ends, 7 log
-- ARGV 1 id, 2 epoch, 3 service ms (0: not representative), 4 how it ended (JSON), 5 channel that wakes gateways,
--      6 least number of entries of the log, 7 tokens that it has used (empty: Ollama has not said), 8 pieces of its
--      answer
-- Returns 1, or 0 when the job has another owner or is gone, or its log is not whole: then nothing is changed
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] or redis.call('XLEN', KEYS[7]) < tonumber(ARGV[6]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HSET', KEYS[6], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[5], 'NX', 0, ARGV[1])
redis.call('PUBLISH', ARGV[5], ARGV[1])
local time = redis.call('TIME')
settle({
  id = ARGV[1], hash = KEYS[1], used = tonumber(ARGV[7]), answered = tonumber(ARGV[8]),
  now_us = time[1] * 1000000 + time[2],
})
measure_service(KEYS[3], ARGV[3])
return 1
