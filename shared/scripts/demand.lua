-- What a request asks of the limits of those who send it: rates, from which it spends, and how many jobs and streams
-- they may have at once. Functions for the script after it. Runs after gcra.lua.
-- A demand (shared/demand.py) is a row of KEYS: the rates of requests, the rates of tokens, the lists of jobs
-- (job_lists.lua), the sets of open streams; and a row of ARGV: how many there are of each of these four, 5 tokens of
-- the prompt, 6 id of the stream to be opened, 7 ms for which it is taken to be open, then three per rate (gcra.lua),
-- then per list and set how many there may be.
-- Open streams are a sorted set of ids by until when they are taken to be open, ms; whoever sends them says so again.

-- Returns where the parts of the demand are that begins with these.
local function read_demand(first_key, first_arg)
  local requests, tokens = tonumber(ARGV[first_arg]), tonumber(ARGV[first_arg + 1])
  local jobs, streams = tonumber(ARGV[first_arg + 2]), tonumber(ARGV[first_arg + 3])
  local rates = requests + tokens
  return {
    requests = requests, tokens = tokens, jobs = jobs, streams = streams,
    prompt_tokens = ARGV[first_arg + 4], stream = ARGV[first_arg + 5], stream_ms = ARGV[first_arg + 6],
    first_key = first_key, first_rate = first_arg + 7,
    first_held = first_key + rates, first_most = first_arg + 7 + 3 * rates,
    next_key = first_key + rates + jobs + streams, next_arg = first_arg + 7 + 3 * rates + jobs + streams,
  }
end

-- Looks at all limits and spends nothing; who attaches to a job that is there needs no tokens, and no place for a job.
-- Returns what gcra_check returns, and with it `refusal`, the answer if one of the limits does not allow it:
--   {'limited', index of the rate, retry after µs, {remaining, µs until whole, … per rate}}
--   {'crowded', index among jobs and streams, service ms of the model whose pace is given (0: unknown)}
local function check_demand(demand, is_attached, now_us, pace)
  local rates = demand.requests + (is_attached and 0 or demand.tokens)
  local verdict = gcra_check(demand.first_key, demand.first_rate, rates, now_us)
  if not verdict.allowed then
    verdict.refusal = {'limited', verdict.index, verdict.retry_after_us, verdict.states}
    return verdict
  end
  local now = string.format('(%.0f', math.floor(now_us / 1000))
  for i = is_attached and demand.jobs or 0, demand.jobs + demand.streams - 1 do
    if redis.call('ZCOUNT', KEYS[demand.first_held + i], now, '+inf') >= tonumber(ARGV[demand.first_most + i]) then
      verdict.refusal = {'crowded', i + 1, pace and redis.call('HGET', pace, 'service_ms') or '0'}
      return verdict
    end
  end
  return verdict
end

-- Spends what check_demand has allowed, and has the stream count as open.
local function meet_demand(demand, verdict, now_us)
  gcra_spend(demand.first_key, verdict, now_us)
  local now = math.floor(now_us / 1000)
  for i = demand.jobs, demand.jobs + demand.streams - 1 do
    local streams = KEYS[demand.first_held + i]
    redis.call('ZREMRANGEBYSCORE', streams, '-inf', string.format('%.0f', now))
    redis.call('ZADD', streams, string.format('%.0f', now + tonumber(demand.stream_ms)), demand.stream)
    redis.call('PEXPIRE', streams, demand.stream_ms)
  end
end

-- Returns the rates of tokens as a job's state has them: per rate its key and its interval in µs; and what is reserved
-- of each.
local function budgets_of(demand)
  local budgets = {}
  for i = demand.requests, demand.requests + demand.tokens - 1 do
    budgets[#budgets + 1] = KEYS[demand.first_key + i] .. ' ' .. ARGV[demand.first_rate + 3 * i]
  end
  return table.concat(budgets, ' '), ARGV[demand.first_rate + 3 * demand.requests + 2]
end
