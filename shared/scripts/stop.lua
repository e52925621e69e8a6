-- Stops a job: one that no live worker holds ends here and now, or if it is durable when a gateway has stored that; one
-- that runs is ended by its worker. Runs after end_job.lua and idempotency.lua.
-- KEYS 1 job, 2 log, 3 payload, 4 deadlines, 5 attended, 6 readers, 7 unstored, 8 ends
-- ARGV 1 id, 2 user id (empty: whoever's), 3 code, 4 status it ends with, 5 terminal event (kind + payload, with the
--      request id left open as %s), 6 '1': only if nobody reads it, 7 waiting prefix, 8 delayed prefix,
--      9 running prefix, 10 control channel prefix, 11 channel that wakes gateways,
--      12 ms for which it stays on its owners' lists
-- Returns nothing when there is no such job, or it is another user's; otherwise its model, and 'stopping', or the
--      status it has ended with, now or before, or that of a job that is read after all
local RETRY_MS = 2000  -- a worker that dies before it obeys must not leave the job for ever
local state = redis.call('HMGET', KEYS[1],
  'status', 'user', 'model', 'epoch', 'channel', 'owner', 'request_id', 'retention_ms', 'idempotency_key', 'fault',
  'is_durable', 'kind', 'admitted_ms', 'started_ms', 'failures', 'keyless_retention_ms', 'api_key')
local id, status, model, owner = ARGV[1], state[1], state[3], state[6]
if status and ARGV[2] ~= '' and ARGV[2] ~= state[2] then return false end
if status ~= 'queued' and status ~= 'running' then
  redis.call('ZREM', KEYS[4], id)  -- gone or ended: it must not be found due for ever
  redis.call('ZREM', KEYS[5], id)
  return status and {model, status}
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
if ARGV[6] == '1' then
  local attended_until = redis.call('ZSCORE', KEYS[5], id)
  if not attended_until or tonumber(attended_until) > now then return {model, status} end
  if state[9] then  -- whoever comes back is to have an answer, and this job need not stay as long as its key
    idempotency_release(state[9], id)
    state[8] = state[16] or state[8]
    redis.call('HSET', KEYS[1], 'retention_ms', state[8])
  end
end
local waiting, delayed, running = ARGV[7] .. model, ARGV[8] .. model, ARGV[9] .. model
if status == 'running' and tonumber(redis.call('ZSCORE', running, id) or '0') >= now then
  redis.call('ZREM', KEYS[5], id)
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + RETRY_MS), id)
  redis.call('HSET', KEYS[1], 'stop', ARGV[3])
  redis.call('PUBLISH', ARGV[10] .. owner, ARGV[3] .. ' ' .. id)
  return {model, 'stopping'}
end

redis.call('ZREM', KEYS[4], id)
if redis.call('HEXISTS', KEYS[8], id) == 1 then return {model, 'stopping'} end  -- it has ended already
local ended_as, event, epoch, is_durable = ARGV[4], string.gsub(ARGV[5], '%%s', state[7]), state[4], state[11] == '1'
-- A job that waits for another attempt until its time is up ends with what the last one failed of.
if ARGV[3] == 'expired' and state[10] then ended_as, event = 'failed', state[10] end
if is_durable then
  settle_unclaimed({id = id, hash = KEYS[1], now_us = now_us}, last_event(KEYS[2], KEYS[1]))
  epoch = next_epoch(epoch, now)  -- whoever thinks to own it still does not
  redis.call('HSET', KEYS[1], 'epoch', epoch)
  for _, list in ipairs({waiting, delayed, running}) do
    redis.call('ZREM', list, id)
  end
else
  ended_as, epoch, event = end_job({
    id = id, epoch = epoch, channel = state[5], hash = KEYS[1], log = KEYS[2], payload = KEYS[3], readers = KEYS[6],
    listed_ms = ARGV[12], lists = {KEYS[5], waiting, delayed, running}, status = ended_as, event = event,
    retention_ms = state[8], now_us = now_us,
  })
end
local admitted_ms = tonumber(state[13])
redis.call('HSET', KEYS[8], id, cjson.encode({
  user_id = state[2], kind = state[12], model = model, status = ended_as, request_id = state[7],
  queue_ms = math.max(0, (tonumber(state[14]) or now) - admitted_ms), total_ms = math.max(0, now - admitted_ms),
  attempts = state[15] + (status == 'running' and 1 or 0), epoch = tonumber(epoch), is_durable = is_durable,
  terminal = event, api_key_id = state[17] ~= '' and state[17] or nil,
}))
redis.call('ZADD', KEYS[7], 0, id)
redis.call('PUBLISH', ARGV[11], id)
return {model, is_durable and 'stopping' or ended_as}
