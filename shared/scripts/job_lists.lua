-- The jobs of one owner, which is a user or an API key. Functions for the script after it.
-- A list is a sorted set of job ids by until when they stand there, ms; of jobs that have ended that is negative, so
-- that those which wait or run can be counted.

-- Puts a job that waits or runs on its owners' lists.
local function list_live(lists, id, now, for_ms)
  for _, list in ipairs(lists) do
    redis.call('ZREMRANGEBYSCORE', list, string.format('-%.0f', now), string.format('%.0f', now))
    redis.call('ZADD', list, string.format('%.0f', now + tonumber(for_ms)), id)
    if redis.call('PEXPIRE', list, for_ms, 'GT') == 0 then redis.call('PEXPIRE', list, for_ms, 'NX') end
  end
end

-- Has a job that is on its owners' lists count as ended.
local function list_ended(lists, id, now, for_ms)
  for _, list in ipairs(lists) do
    redis.call('ZADD', list, 'XX', string.format('-%.0f', now + tonumber(for_ms)), id)
  end
end
