-- Admits a job that is to be stored before it is enqueued, by the same rules as admit.lua, and holds a place in the
-- queue for it meanwhile; a refusal writes nothing. Runs after demand.lua, job_lists.lua and idempotency.lua.
-- KEYS 1 waiting, 2 pace, 3 reserved, 4… the owners' lists of jobs, then a demand (see demand.lua), and at last the
--      idempotency key, if there is one
-- ARGV 1 job id, 2 most that may wait, 3 hold ms, 4 fingerprint of the request (empty: it has no idempotency key),
--      5 ms for which the key is kept, 6 job prefix, 7 number of owners' lists, 8… the demand
-- Returns what admit.lua returns; the position of an admitted job is a first estimate
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

local demand = read_demand(4 + ARGV[7], 8)
local idempotency_key = KEYS[demand.next_key]
local attached_id, is_same, is_reserved
if idempotency_key then
  attached_id, is_same, is_reserved = idempotency_find(idempotency_key, ARGV[4], ARGV[6], KEYS[3])
end

local verdict = check_demand(demand, attached_id, now_us, KEYS[2])
if verdict.refusal then return verdict.refusal end
if attached_id and not is_same then return {'mismatched'} end
if is_reserved then return {'reserved'} end
if attached_id then
  meet_demand(demand, verdict, now_us)
  return {'attached', attached_id, verdict.states}
end

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
local service_ms = redis.call('HGET', KEYS[2], 'service_ms') or '0'
local depth = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[3])
if depth >= tonumber(ARGV[2]) then
  return {'full', depth, service_ms, gcra_states(verdict.limits)}
end

meet_demand(demand, verdict, now_us)
redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
list_live({unpack(KEYS, 4, 3 + ARGV[7])}, ARGV[1], now, ARGV[3])
if idempotency_key then idempotency_hold(idempotency_key, ARGV[1], ARGV[4], ARGV[5]) end
return {'admitted', depth + 1, service_ms, verdict.states}
