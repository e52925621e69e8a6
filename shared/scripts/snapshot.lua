-- Counts what is in the queues, without changing anything.
-- KEYS 1 workers, 2 unstored, then per model: waiting, delayed, running
-- Returns {now ms, {worker id, end of its lease ms, …}, number of ends that PostgreSQL lacks, per model {waiting, delayed, running, id of the oldest that
--      waits, or ''}}
local time = redis.call('TIME')
local answer = {
  time[1] * 1000 + math.floor(time[2] / 1000), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),
  redis.call('ZCARD', KEYS[2]),
}
for index = 3, #KEYS, 3 do
  -- Ids sort by when they were made (UUIDv7), the queue by fair turns: the oldest may stand anywhere in it.
  local waiting = redis.call('ZRANGE', KEYS[index], 0, -1)
  local oldest = waiting[1] or ''
  for position = 2, #waiting do
    if waiting[position] < oldest then oldest = waiting[position] end
  end
  answer[#answer + 1] = {
    #waiting, redis.call('ZCARD', KEYS[index + 1]), redis.call('ZCARD', KEYS[index + 2]), oldest,
  }
end
return answer
