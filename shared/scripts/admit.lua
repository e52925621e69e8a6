-- Admits a job, or refuses it, or finds that its idempotency key stands for one already; a refusal writes nothing, an
-- attachment spends requests alone. Runs after demand.lua, idempotency.lua and enqueue_job.lua.
-- KEYS 1 waiting, 2 fair, 3 pace, 4 job, 5 payload, 6 deadlines, 7 attended, 8 readers, 9 reserved, 10… the owners'
--      lists of jobs, then a demand (see demand.lua), and at last the idempotency key, if there is one
-- ARGV 1 job id, 2 user id, 3 model, 4 most that may wait, 5 cost, 6 queue timeout ms, 7 run timeout ms,
--      8 time to live ms, 9 ms for which a reader is believed in (0: none is needed), 10 channel of the relaying gateway,
--      11 payload, 12 wake channel, 13 request id, 14 ms for which it goes on without readers, 15 retention ms,
--      16 fingerprint of the request (empty: it has no idempotency key), 17 ms for which the key is kept, 18 job prefix,
--      19 readers prefix, 20 kind, 21 ms since the job was admitted for the first time (empty: it is new; otherwise it
--      spends nothing and is never refused), 22 API key that it was asked for with (empty: none),
--      23 lag in virtual time, 24 number of owners' lists, 25… the demand
-- Returns what check_demand refuses with,
--      or {'mismatched'}, or {'reserved'} (the key's job is being stored just now), or {'attached', job id, {remaining, µs until whole, … per rate of requests}}
--      or {'full', depth, service ms, {remaining, µs until whole, … per rate}}
--      or {'admitted', position, service ms, {remaining, µs until whole, … per rate}}
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

local is_new, admitted, lists = ARGV[21] == '', now, {unpack(KEYS, 10, 9 + ARGV[24])}
local demand = read_demand(10 + ARGV[24], 25)
local idempotency_key = KEYS[demand.next_key]
local attached_id, is_same, is_reserved
if not is_new then
  if redis.call('EXISTS', KEYS[4]) == 1 then return {'attached', job_id, {}} end
  admitted = now - tonumber(ARGV[21])
elseif idempotency_key then
  attached_id, is_same, is_reserved = idempotency_find(idempotency_key, ARGV[16], ARGV[18], KEYS[9])
end

local verdict = check_demand(demand, attached_id, now_us, KEYS[3])
if is_new and verdict.refusal then return verdict.refusal end
if attached_id and not is_same then return {'mismatched'} end
if is_reserved then return {'reserved'} end
if attached_id then
  meet_demand(demand, verdict, now_us)
  if tonumber(ARGV[9]) == 0 then
    redis.call('ZREM', KEYS[7], attached_id)
    redis.call('HSET', ARGV[18] .. attached_id, 'grace_ms', '-1')
  elseif redis.call('ZSCORE', KEYS[7], attached_id) then
    attend(attached_id, ARGV[19] .. attached_id)
  end
  return {'attached', attached_id, verdict.states}
end

local service_ms = redis.call('HGET', KEYS[3], 'service_ms') or '0'
local depth = redis.call('ZCARD', KEYS[1]) + redis.call('ZCOUNT', KEYS[9], now, '+inf')
if depth >= tonumber(ARGV[4]) then
  return {'full', depth, service_ms, gcra_states(verdict.limits)}
end

if is_new then meet_demand(demand, verdict, now_us) end

local budgets, reserved_tokens = budgets_of(demand)
local position = enqueue_job({
  id = job_id, user = user_id, lists = lists, model = model, kind = ARGV[20], request_id = ARGV[13],
  api_key = ARGV[22], channel = ARGV[10],
  is_durable = '', waiting = KEYS[1], fair = KEYS[2], pace = KEYS[3], deadlines = KEYS[6], hash = KEYS[4],
  payload = KEYS[5], content = ARGV[11], cost = ARGV[5], lag = ARGV[23], admitted_ms = admitted, now = now, queue_timeout_ms = ARGV[6],
  timeout_ms = ARGV[7], grace_ms = ARGV[9] == '0' and '-1' or ARGV[14], retention_ms = ARGV[15],
  time_to_live_ms = ARGV[8], wake = ARGV[12], budgets = budgets, prompt_tokens = demand.prompt_tokens,
  reserved_tokens = is_new and reserved_tokens or '0',  -- Redis has lost with the job what it had reserved
})
if not is_new then redis.call('ZADD', KEYS[6], string.format('%.0f', admitted + tonumber(ARGV[6])), job_id) end
if tonumber(ARGV[9]) > 0 then attend(job_id, KEYS[8]) end
if idempotency_key then
  local retention_ms = string.format('%.0f', math.max(tonumber(ARGV[15]), tonumber(ARGV[17])))
  redis.call('HSET', KEYS[4], 'idempotency_key', idempotency_key, 'fingerprint', ARGV[16],
    'retention_ms', retention_ms, 'keyless_retention_ms', ARGV[15])
  local hold = is_new and idempotency_hold or idempotency_hold_if_free
  hold(idempotency_key, job_id, ARGV[16], ARGV[17])
end
return {'admitted', position, service_ms, verdict.states}
