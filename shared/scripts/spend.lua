-- Spends from all of the rate limits, or from none when one of them is used up. Runs after gcra.lua.
-- KEYS one per rate limit
-- ARGV three per rate limit (see gcra.lua)
-- Returns {index of the limit that refuses (0: none), retry after µs, {remaining, µs until whole, … per limit}}
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local verdict = gcra_check(KEYS, 1, ARGV, 1, #KEYS, now_us)
if not verdict.allowed then
  return {verdict.index, verdict.retry_after_us, verdict.states}
end
gcra_spend(KEYS, 1, verdict, now_us)
return {0, 0, verdict.states}
