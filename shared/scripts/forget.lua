-- Has jobs forgotten before their time, with what they have answered: when they end, or have ended, they stay this long.
-- KEYS per job: job, log
-- ARGV 1 ms
for index = 1, #KEYS, 2 do
  local status = redis.call('HGET', KEYS[index], 'status')
  if status == 'queued' or status == 'running' then
    redis.call('HSET', KEYS[index], 'retention_ms', ARGV[1])
  else
    redis.call('PEXPIRE', KEYS[index], ARGV[1], 'LT')
    redis.call('PEXPIRE', KEYS[index + 1], ARGV[1], 'LT')
  end
end
return #KEYS / 2
