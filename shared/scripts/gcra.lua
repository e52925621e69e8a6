-- Rate limits by GCRA: in any window T at most burst + rate * T pass. Functions for the script after it. Runs after
-- bucket.lua.
-- Per limit three ARGV: emission interval in µs, burst, cost. The keys of one call are distinct.

-- Returns {remaining, µs until whole, … per limit}: after spending `used_us`, or as they stand without it.
local function gcra_states(limits, used_us)
  local states = {}
  for i, limit in ipairs(limits) do
    local used = used_us and used_us[i] or limit.used
    states[2 * i - 1] = math.max(math.floor((limit.whole - used) / limit.interval), 0)
    states[2 * i] = used
  end
  return states
end

-- Looks at `count` limits and spends nothing. Returns a table:
--   allowed         whether all of them pass
--   index           which of them makes the caller wait longest, from 1; nil when allowed
--   retry_after_us  when all would pass, if nobody else spends; nil when allowed
--   states          {remaining, µs until whole, … per limit}: after spending when allowed, else as they stand
--   limits          what gcra_states takes
--   used_us         {µs until whole after spending, … per limit}: what gcra_spend writes
local function gcra_check(first_key, first_arg, count, now_us)
  local limits = {}
  local verdict = {allowed = true, limits = limits, used_us = {}}
  for i = 1, count do
    local arg = first_arg + 3 * (i - 1)
    local interval, burst, cost = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
    local whole = interval * burst
    local used = bucket_used(KEYS[first_key + i - 1], now_us)
    limits[i] = {interval = interval, whole = whole, used = used}
    verdict.used_us[i] = used + interval * cost
    local wait = verdict.used_us[i] - whole
    if wait > (verdict.retry_after_us or 0) then
      verdict.allowed, verdict.index, verdict.retry_after_us = false, i, wait
    end
  end
  verdict.states = gcra_states(limits, verdict.allowed and verdict.used_us)
  return verdict
end

-- Spends what gcra_check has allowed.
local function gcra_spend(first_key, verdict, now_us)
  for i, used in ipairs(verdict.used_us) do
    bucket_write(KEYS[first_key + i - 1], now_us, used)
  end
end
