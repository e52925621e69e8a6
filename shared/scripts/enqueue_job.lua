-- Puts jobs into the queue. Functions for the script after it. Runs after job_lists.lua.

-- Enqueues a job at its user's place in the fair order, and wakes the workers of its model. Takes a table:
--   id, user, model, kind, request_id, channel   of the job
--   api_key                                      that it was asked for with, or ''
--   is_durable                                   '1' or ''
--   waiting, fair, pace, deadlines               lists of its model and of all
--   hash, payload                                its keys
--   lists                                        of its owners' jobs
--   content                                      of the payload
--   cost                                         of its user's turns
--   lag                                          how much virtual time it stands behind what waits as long ('0': none)
--   admitted_ms, now                             ms
--   queue_timeout_ms, timeout_ms, retention_ms   as text
--   grace_ms                                     how long it goes on without readers; '-1': whoever reads it
--   time_to_live_ms                              how long all of it stays at most
--   wake                                         the channel to wake workers on
--   budgets                                      rates of tokens that it is settled with (see budgets_of); '': none
--   reserved_tokens, prompt_tokens               what is reserved of each, and how much of that for the prompt
-- Returns its position, from 1.
local function enqueue_job(job)
  -- Start-time fair queueing (Goyal, Vin, Cheng 1996): a job starts when its user's previous one ends in virtual time,
  -- but not before the virtual time now, so that nobody saves up turns by staying away.
  local virtual = tonumber(redis.call('HGET', job.pace, 'virtual') or '0')
  -- What lags has turns of its own, so that it does not delay what else its user asks for; and as the lag is finite, what
  -- comes later passes it for so long only.
  local taker = job.lag == '0' and job.user or job.user .. ' lagging'
  local start = math.max(virtual, tonumber(redis.call('ZSCORE', job.fair, taker) or '0'))
  redis.call('ZADD', job.fair, string.format('%.6f', start + tonumber(job.cost)), taker)
  redis.call('ZADD', job.waiting, string.format('%.6f', start + tonumber(job.lag)), job.id)

  redis.call('HSET', job.hash, 'status', 'queued', 'model', job.model, 'user', job.user, 'kind', job.kind,
    'api_key', job.api_key, 'is_durable', job.is_durable, 'channel', job.channel, 'request_id', job.request_id,
    'admitted_ms', string.format('%.0f', job.admitted_ms), 'epoch', '0', 'failures', '0',
    'queue_timeout_ms', job.queue_timeout_ms, 'timeout_ms', job.timeout_ms, 'grace_ms', job.grace_ms,
    'lag', job.lag, 'retention_ms', job.retention_ms, 'time_to_live_ms', job.time_to_live_ms, 'lists', table.concat(job.lists, ' '),
    'prompt_tokens', job.prompt_tokens)
  if job.budgets ~= '' then
    redis.call('HSET', job.hash, 'budgets', job.budgets, 'reserved_tokens', job.reserved_tokens)
  end
  redis.call('PEXPIRE', job.hash, job.time_to_live_ms)
  redis.call('SET', job.payload, job.content, 'PX', job.time_to_live_ms)
  redis.call('ZADD', job.deadlines, string.format('%.0f', job.now + tonumber(job.queue_timeout_ms)), job.id)
  list_live(job.lists, job.id, job.now, job.time_to_live_ms)
  redis.call('PUBLISH', job.wake, job.id)
  return redis.call('ZRANK', job.waiting, job.id) + 1
end
