-- Admits a job that is to be stored before it is enqueued, by the same rules as admit.lua, and holds a place in the
-- queue for it meanwhile; a refusal writes nothing. Runs after gcra.lua and idempotency.lua.
-- KEYS 1 waiting, 2 pace, 3 reserved, 4… one per rate limit, and at last the idempotency key, if there is one
-- ARGV 1 job id, 2 most that may wait, 3 hold ms, 4 fingerprint of the request (empty: it has no idempotency key),
--      5 ms for which the key is kept, 6 job prefix, 7… three per rate limit (see gcra.lua)
-- Returns what admit.lua returns; the position of an admitted job is a first estimate
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

local limits = (#ARGV - 6) / 3
local verdict = gcra_check(KEYS, 4, ARGV, 7, limits, now_us)
if not verdict.allowed then
  return {'limited', verdict.index, verdict.retry_after_us, verdict.states}
end

local idempotency_key = KEYS[4 + limits]
if idempotency_key then
  local attached_id, is_same, is_reserved = idempotency_find(idempotency_key, ARGV[4], ARGV[6], KEYS[3])
  if attached_id and not is_same then return {'mismatched'} end
  if is_reserved then return {'reserved'} end
  if attached_id then
    gcra_spend(KEYS, 4, verdict, now_us)
    return {'attached', attached_id, verdict.states}
  end
end

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local service_ms = redis.call('HGET', KEYS[2], 'service_ms') or '0'
local depth = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[3])
if depth >= tonumber(ARGV[2]) then
  return {'full', depth, service_ms, gcra_states(verdict.limits)}
end

gcra_spend(KEYS, 4, verdict, now_us)
redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
if idempotency_key then idempotency_hold(idempotency_key, ARGV[1], ARGV[4], ARGV[5]) end
return {'admitted', depth + 1, service_ms, verdict.states}
