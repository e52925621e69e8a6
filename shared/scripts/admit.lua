-- Admits a job, or refuses it, or finds that its idempotency key stands for one already; a refusal writes nothing, an
-- attachment spends from the rate limits. Runs after gcra.lua and idempotency.lua.
-- KEYS 1 waiting, 2 fair, 3 pace, 4 job, 5 payload, 6 deadlines, 7 attended, 8 readers, 9… one per rate limit, and at
--      last the idempotency key, if there is one
-- ARGV 1 job id, 2 user id, 3 model, 4 most that may wait, 5 cost, 6 queue timeout ms, 7 run timeout ms,
--      8 time to live ms, 9 ms for which a reader is believed in (0: none is needed), 10 channel of the relaying gateway,
--      11 payload, 12 wake channel, 13 request id, 14 ms for which it goes on without readers, 15 retention ms,
--      16 fingerprint of the request (empty: it has no idempotency key), 17 ms for which the key is kept, 18 job prefix,
--      19 readers prefix, 20… three per rate limit (see gcra.lua)
-- Returns {'limited', index of the limit, retry after µs, {remaining, µs until whole, … per limit}}
--      or {'mismatched'}, or {'attached', job id, {remaining, µs until whole, … per limit}}
--      or {'full', depth, service ms}, or {'admitted', position, service ms, {remaining, µs until whole, … per limit}}
local job_id, user_id, model = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

-- Notes that this gateway has a reader of a job that needs one.
local function attend(id, readers)
  local read_until = now + tonumber(ARGV[9])
  redis.call('ZADD', KEYS[7], 'GT', string.format('%.0f', read_until + tonumber(ARGV[14])), id)
  redis.call('ZADD', readers, string.format('%.0f', read_until), ARGV[10])
  redis.call('PEXPIRE', readers, ARGV[9] + 1000)
end

local limits = (#ARGV - 19) / 3
local verdict = gcra_check(KEYS, 9, ARGV, 20, limits, now_us)
if not verdict.allowed then
  return {'limited', verdict.index, verdict.retry_after_us, verdict.states}
end

local idempotency_key = KEYS[9 + limits]
if idempotency_key then
  local attached_id, is_same = idempotency_find(idempotency_key, ARGV[16], ARGV[18])
  if attached_id and not is_same then return {'mismatched'} end
  if attached_id then
    gcra_spend(KEYS, 9, verdict, now_us)
    if tonumber(ARGV[9]) == 0 then
      redis.call('ZREM', KEYS[7], attached_id)
    elseif redis.call('ZSCORE', KEYS[7], attached_id) then
      attend(attached_id, ARGV[19] .. attached_id)
    end
    return {'attached', attached_id, verdict.states}
  end
end

local service_ms = redis.call('HGET', KEYS[3], 'service_ms') or '0'
local depth = redis.call('ZCARD', KEYS[1])
if depth >= tonumber(ARGV[4]) then
  return {'full', depth, service_ms}
end

gcra_spend(KEYS, 9, verdict, now_us)

-- Start-time fair queueing (Goyal, Vin, Cheng 1996): a job starts when its user's previous one ends in virtual time,
-- but not before the virtual time now, so that nobody saves up turns by staying away.
local virtual = tonumber(redis.call('HGET', KEYS[3], 'virtual') or '0')
local start = math.max(virtual, tonumber(redis.call('ZSCORE', KEYS[2], user_id) or '0'))
redis.call('ZADD', KEYS[2], string.format('%.6f', start + tonumber(ARGV[5])), user_id)
redis.call('ZADD', KEYS[1], string.format('%.6f', start), job_id)

redis.call('HSET', KEYS[4], 'status', 'queued', 'model', model, 'user', user_id, 'channel', ARGV[10],
  'request_id', ARGV[13], 'admitted_ms', string.format('%.0f', now), 'epoch', '0', 'failures', '0',
  'queue_timeout_ms', ARGV[6], 'timeout_ms', ARGV[7], 'retention_ms', ARGV[15])
redis.call('PEXPIRE', KEYS[4], ARGV[8])
redis.call('SET', KEYS[5], ARGV[11], 'PX', ARGV[8])
redis.call('ZADD', KEYS[6], string.format('%.0f', now + tonumber(ARGV[6])), job_id)
if tonumber(ARGV[9]) > 0 then attend(job_id, KEYS[8]) end
if idempotency_key then
  redis.call('HSET', KEYS[4], 'idempotency_key', idempotency_key)
  idempotency_hold(idempotency_key, job_id, ARGV[16], ARGV[17])
end
redis.call('PUBLISH', ARGV[12], job_id)
return {'admitted', redis.call('ZRANK', KEYS[1], job_id) + 1, service_ms, verdict.states}
