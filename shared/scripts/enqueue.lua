-- Enqueues a job that is stored, unless it is or was in the queue already. Runs after demand.lua, idempotency.lua and
-- enqueue_job.lua.
-- KEYS 1 waiting, 2 fair, 3 pace, 4 job, 5 payload, 6 deadlines, 7 reserved, 8… the owners' lists of jobs, then the
--      demand that its reservation met (see demand.lua), and at last the key that stands for the job, if there is one
-- ARGV 1 job id, 2 user id, 3 model, 4 cost, 5 queue timeout ms, 6 run timeout ms, 7 time to live ms, 8 channel,
--      9 payload, 10 wake channel, 11 request id, 12 retention ms, 13 kind, 14 since when it waits, ms,
--      15 fingerprint of the request (empty: it has no key), 16 ms for which its key is kept,
--      17 '1': Redis may have had it before and lost it, 18 API key that it was asked for with (empty: none),
--      19 lag in virtual time, 20 number of owners' lists, 21… the demand
-- Returns {position, service ms}, or nothing when it was there
local MOST_EVENTS_PER_S = 4096  -- of one job; the numbers of what was lost are below what that gives
local MOST_AGE_S = 1000000  -- so that all of it stays below 2^32

redis.call('ZREM', KEYS[7], ARGV[1])
local demand = read_demand(8 + ARGV[20], 21)
local key = KEYS[demand.next_key]
if redis.call('EXISTS', KEYS[4]) == 1 then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local budgets, reserved_tokens = budgets_of(demand)
local position = enqueue_job({
  id = ARGV[1], user = ARGV[2], lists = {unpack(KEYS, 8, 7 + ARGV[20])}, model = ARGV[3], kind = ARGV[13],
  request_id = ARGV[11], api_key = ARGV[18], channel = ARGV[8],
  is_durable = '1', waiting = KEYS[1], fair = KEYS[2], pace = KEYS[3], deadlines = KEYS[6], hash = KEYS[4],
  payload = KEYS[5], content = ARGV[9], cost = ARGV[4], lag = ARGV[19], admitted_ms = ARGV[14],
  now = now, queue_timeout_ms = ARGV[5], timeout_ms = ARGV[6],
  grace_ms = '-1', retention_ms = ARGV[12], time_to_live_ms = ARGV[7], wake = ARGV[10],
  budgets = budgets, reserved_tokens = reserved_tokens, prompt_tokens = demand.prompt_tokens,
})
if key then
  redis.call('HSET', KEYS[4], 'idempotency_key', key, 'fingerprint', ARGV[15])
  idempotency_hold_if_free(key, ARGV[1], ARGV[15], ARGV[16])
end
if ARGV[17] == '1' then
  local age_s = math.min(math.max(1, math.ceil((now - tonumber(ARGV[14])) / 1000)), MOST_AGE_S)
  redis.call('HSET', KEYS[4], 'begins_after', string.format('%.0f', age_s * MOST_EVENTS_PER_S))
end
return {position, redis.call('HGET', KEYS[3], 'service_ms') or '0'}
