-- Erases what Redis has of jobs whose owner is gone: at once of those that have ended, of the others when they have and
-- whoever reads them has heard of it. Runs after idempotency.lua.
-- KEYS four for each job: job, log, payload, readers
-- ARGV 1 user id, 2 ms for which a job stays that has still to end, then an id for each job
for i = 3, #ARGV do
  local first = 4 * (i - 3) + 1
  local job = KEYS[first]
  local state = redis.call('HMGET', job, 'user', 'status', 'idempotency_key')
  if state[1] == ARGV[1] then
    idempotency_release(state[3], ARGV[i])
    if state[2] == 'queued' or state[2] == 'running' then
      redis.call('HSET', job, 'retention_ms', ARGV[2], 'keyless_retention_ms', ARGV[2])
    else
      redis.call('UNLINK', job, KEYS[first + 1], KEYS[first + 2], KEYS[first + 3])
    end
  end
end
