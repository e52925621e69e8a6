-- Spends from all of the rate limits and opens a stream, or nothing when one of the limits does not allow it. Runs after
-- demand.lua.
-- KEYS, ARGV a demand (see demand.lua)
-- Returns what check_demand refuses with, or {'passed', {remaining, µs until whole, … per rate}}
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local demand = read_demand(1, 1)
local verdict = check_demand(demand, false, now_us)
if verdict.refusal then return verdict.refusal end
meet_demand(demand, verdict, now_us)
return {'passed', verdict.states}
