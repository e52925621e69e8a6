-- Has nothing left of jobs, nor of what they have answered: at once of those that have ended, of the others that long
-- after their end is told.
-- KEYS per job: job, log
-- ARGV 1 ms
for index = 1, #KEYS, 2 do
  local status = redis.call('HGET', KEYS[index], 'status')
  if status == 'queued' or status == 'running' then
    redis.call('HSET', KEYS[index], 'retention_ms', ARGV[1])
  else
    redis.call('UNLINK', KEYS[index], KEYS[index + 1])
  end
end
return #KEYS / 2
