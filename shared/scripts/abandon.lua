-- Gives up a reservation whose job could not be stored: as if there had been none. Runs after bucket.lua,
-- idempotency.lua and demand.lua.
-- KEYS 1 reserved, 2… the owners' lists of jobs, then a demand (see demand.lua), and at last the idempotency key, if there is one
-- ARGV 1 job id, 2 number of lists, 3… the demand
-- Returns 1, or 0 when there was none
local id, lists = ARGV[1], tonumber(ARGV[2])
if redis.call('ZREM', KEYS[1], id) == 0 then return 0 end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
for index = 2, 1 + lists do
  redis.call('ZREM', KEYS[index], id)
end
local demand = read_demand(2 + lists, 3)
for i = 0, demand.requests + demand.tokens - 1 do
  local interval, cost = ARGV[demand.first_rate + 3 * i], ARGV[demand.first_rate + 3 * i + 2]
  bucket_charge(KEYS[demand.first_key + i], now_us, -interval * cost)
end
for i = demand.jobs, demand.jobs + demand.streams - 1 do
  redis.call('ZREM', KEYS[demand.first_held + i], demand.stream)
end
idempotency_release(KEYS[demand.next_key], id)
return 1
