-- Gives up a reservation whose job could not be stored: as if there had been none. Runs after gcra.lua and
-- idempotency.lua.
-- KEYS 1 reserved, 2… one per rate limit, and at last the idempotency key, if there is one
-- ARGV 1 job id, 2… three per rate limit (see gcra.lua)
-- Returns 1, or 0 when there was none
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local time = redis.call('TIME')
local limits = (#ARGV - 1) / 3
gcra_refund(KEYS, 2, ARGV, 2, limits, time[1] * 1000000 + time[2])
idempotency_release(KEYS[2 + limits], ARGV[1])
return 1
