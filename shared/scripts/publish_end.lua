-- Ends a job whose end PostgreSQL has; a job that has gone on since then stays as it is. Runs after
-- end_job.lua.
-- KEYS 1 job, 2 log, 3 payload, 4 readers, 5 unstored, 6 ends
-- ARGV 1 id, 2 epoch of that end, 3 status, 4 terminal event (kind + payload), 5 ms for which it stays on its owners'
--      lists
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
local state = redis.call('HMGET', KEYS[1], 'epoch', 'status', 'channel', 'retention_ms')
if state[1] ~= ARGV[2] or (state[2] ~= 'queued' and state[2] ~= 'running') then return 0 end
local time = redis.call('TIME')
end_job({
  id = ARGV[1], epoch = state[1], channel = state[3], hash = KEYS[1], log = KEYS[2], payload = KEYS[3],
  readers = KEYS[4], listed_ms = ARGV[5], lists = {}, status = ARGV[3], event = ARGV[4], retention_ms = state[4],
  now_us = time[1] * 1000000 + time[2],
})
return 1
