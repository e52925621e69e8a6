-- Failed attempts to prove who one is, and the wait that grows from them. Functions for the script after it.
-- A party's whole state is one hash: `failures`, `last_ms` (Redis time of the last one). One failure is forgotten for
-- each `forget_ms` without another. From the `free`th on the next attempt has to wait 1 s, 2 s, 4 s …, at most
-- `longest_ms`. Per party three ARGV: free, forget_ms, longest_ms.

local FIRST_WAIT_MS = 1000

local function failures_read(key, args, first_arg, now_ms)
  local free, forget_ms, longest_ms = tonumber(args[first_arg]), tonumber(args[first_arg + 1]), tonumber(args[first_arg + 2])
  local state = redis.call('HMGET', key, 'failures', 'last_ms')
  local last_ms = math.min(tonumber(state[2] or '0'), now_ms)  -- a clock that is set back locks nobody out
  local failures = math.max(0, (state[1] or 0) - math.floor((now_ms - last_ms) / forget_ms))
  local wait_ms = failures < free and 0 or math.min(FIRST_WAIT_MS * 2 ^ (failures - free), longest_ms)
  return {
    key = key, failures = failures, forget_ms = forget_ms, wait_ms = math.max(0, last_ms + wait_ms - now_ms),
    is_worst = wait_ms == longest_ms,  -- what is counted beyond that would only take longer to forget
  }
end

local function failures_count(party, now_ms)
  local failures = party.failures + (party.is_worst and 0 or 1)
  redis.call('HSET', party.key, 'failures', failures, 'last_ms', string.format('%.0f', now_ms))
  redis.call('PEXPIRE', party.key, string.format('%.0f', failures * party.forget_ms + 1000))
end

local function failures_take_back(key)
  local failures = redis.call('HGET', key, 'failures')
  if not failures then return end
  if tonumber(failures) > 1 then redis.call('HINCRBY', key, 'failures', -1) else redis.call('DEL', key) end
end
