-- Rate limits by GCRA (ITU-T I.371): in any window T at most burst + rate * T pass. Functions for the script after it.
-- A limit's whole state is one string, its theoretical arrival time (TAT): the µs at which it will be whole again;
-- without a key it is whole. Per limit three ARGV: emission interval in µs, burst, cost. All are integers, which
-- doubles hold exactly (µs since 1970 need 51 bits of 53). The keys of one call are distinct.

local function gcra_write(key, now_us, used_us)
  -- A second more than needed: expiry goes by a clock that Redis reads before the script begins.
  local ttl_ms = string.format('%.0f', math.ceil(used_us / 1000) + 1000)
  redis.call('SET', key, string.format('%.0f', now_us + used_us), 'PX', ttl_ms)
end

local function gcra_used(key, now_us, whole_us)
  local used = math.max(tonumber(redis.call('GET', key) or '0') - now_us, 0)
  if used > whole_us then
    -- Left over from a larger burst, or from before the clock was set back: then it could lock out for hours.
    used = whole_us
    gcra_write(key, now_us, used)
  end
  return used
end

-- Returns {remaining, µs until whole, … per limit}: after spending `used_us`, or as they stand without it.
local function gcra_states(limits, used_us)
  local states = {}
  for i, limit in ipairs(limits) do
    local used = used_us and used_us[i] or limit.used
    states[2 * i - 1] = math.floor((limit.whole - used) / limit.interval)
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
local function gcra_check(keys, first_key, args, first_arg, count, now_us)
  local limits = {}
  local verdict = {allowed = true, limits = limits, used_us = {}}
  for i = 1, count do
    local arg = first_arg + 3 * (i - 1)
    local interval, burst, cost = tonumber(args[arg]), tonumber(args[arg + 1]), tonumber(args[arg + 2])
    local whole = interval * burst
    local used = gcra_used(keys[first_key + i - 1], now_us, whole)
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
local function gcra_spend(keys, first_key, verdict, now_us)
  for i, used in ipairs(verdict.used_us) do
    gcra_write(keys[first_key + i - 1], now_us, used)
  end
end

-- Gives back what gcra_spend has spent for something that did not pass after all.
local function gcra_refund(keys, first_key, args, first_arg, count, now_us)
  for i = 1, count do
    local key, arg = keys[first_key + i - 1], first_arg + 3 * (i - 1)
    local used = tonumber(redis.call('GET', key) or '0') - now_us - args[arg] * args[arg + 2]
    if used > 0 then gcra_write(key, now_us, used) else redis.call('DEL', key) end
  end
end
