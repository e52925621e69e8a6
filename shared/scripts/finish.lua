-- Ends a job that its owner has brought to an end; its terminal event is already in the log. Runs after
-- pace.lua.
-- KEYS 1 job, 2 running, 3 payload, 4 log, 5 pace, 6 attended, 7 deadlines, 8 readers
-- ARGV 1 id, 2 epoch, 3 status, 4 service ms (0: not representative), 5 prefix of users' lists,
--      6 ms for which it is listed there, 7 least number of entries of the log
-- Returns 1, or 0 when the job has another owner or is gone, or its log is not whole: then nothing is changed
local state = redis.call('HMGET', KEYS[1], 'epoch', 'retention_ms', 'user')
if state[1] ~= ARGV[2] or redis.call('XLEN', KEYS[4]) < tonumber(ARGV[7]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
redis.call('UNLINK', KEYS[3], KEYS[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'ended_ms', string.format('%.0f', now))
redis.call('ZADD', ARGV[5] .. state[3], 'XX', string.format('%.0f', now + tonumber(ARGV[6])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], state[2])
redis.call('PEXPIRE', KEYS[4], state[2])
measure_service(KEYS[5], ARGV[4])
return 1
