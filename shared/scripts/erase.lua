-- Has nothing left of jobs, nor of what they have answered: at once of those that have ended, of the others that long
-- after their end is told. Runs after idempotency.lua.
-- KEYS four for each job: job, log, payload, readers
-- ARGV 1 ms, then an id for each job
for i = 2, #ARGV do
  local first = 4 * (i - 2) + 1
  local job = KEYS[first]
  local state = redis.call('HMGET', job, 'status', 'idempotency_key')
  idempotency_release(state[2], ARGV[i])
  if state[1] == 'queued' or state[1] == 'running' then
    redis.call('HSET', job, 'retention_ms', ARGV[1], 'keyless_retention_ms', ARGV[1])
  else
    redis.call('UNLINK', job, KEYS[first + 1], KEYS[first + 2], KEYS[first + 3])
  end
end
