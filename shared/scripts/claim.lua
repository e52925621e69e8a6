-- Claims jobs for a worker: first those whose lease has ended, then the next in fair order. Runs after end_job.lua.
-- KEYS 1 deadlines, then per model: waiting, running, delayed, fair, pace
-- ARGV 1 worker id, 2 lease ms, 3 most jobs in all, 4 job prefix, 5 payload prefix, 6 log prefix,
--      then per model: free slots
-- Returns per claimed job {payload, last seq of the log, last event (whole if terminal, else its kind), entries of the
--      log, claimed ms, {name and value of each field of the job}}
local worker, lease_ms, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_end = string.format('%.0f', now + lease_ms)
local claimed = {}
local OWN_GRACE_LEASES = 10  -- after so many, a worker has forgotten the job and not just been slow
local END_MARGIN_MS = 10000  -- the worker ends an overlong job itself; a gateway only if no worker has, by then
local MOST_LEFT = 100  -- jobs left to others in one claim, so that a claim stays short whatever waits

-- Returns 'claimed' and the job's lag, 'left' for a job that failed here and is another worker's for now, or 'gone'.
local function claim(id, running, lost)
  local job, log = ARGV[4] .. id, ARGV[6] .. id
  local state = redis.call('HMGET', job, 'epoch', 'channel', 'timeout_ms', 'started_ms', 'avoid', 'avoid_until_ms',
    'lag')
  local payload = redis.call('GET', ARGV[5] .. id)
  if not state[1] or not payload then
    redis.call('ZREM', running, id)  -- it has expired; nothing is left to run
    redis.call('ZREM', KEYS[1], id)
    return 'gone'
  end
  if not lost and state[5] == worker and tonumber(state[6]) > now then return 'left' end
  local started = state[4] or string.format('%.0f', now)
  local epoch = next_epoch(state[1], now)
  if lost then redis.call('HINCRBY', job, 'failures', 1) end
  redis.call('HSET', job, 'status', 'running', 'epoch', epoch, 'owner', worker, 'started_ms', started)
  redis.call('ZADD', running, lease_end, id)
  redis.call('ZADD', KEYS[1], string.format('%.0f', started + state[3] + END_MARGIN_MS), id)
  local seq, last = last_event(log, job)
  redis.call('XADD', log, epoch .. '-0', 'o', worker, 's', seq, 'l', last)
  redis.call('PEXPIRE', log, redis.call('PTTL', job))
  -- Publications of an older owner that come after this one are stale, and the gateway drops them.
  redis.call('PUBLISH', state[2], struct.pack('>c36I8I4I4I4', id, tonumber(epoch), seq + 1, seq, 0))
  claimed[#claimed + 1] = {
    payload, seq, last, redis.call('XLEN', log), string.format('%.0f', now), redis.call('HGETALL', job),
  }
  return 'claimed', tonumber(state[7] or '0')
end

for index = 0, (#KEYS - 1) / 5 - 1 do
  local waiting, running, delayed, fair, pace = unpack(KEYS, 2 + index * 5, 6 + index * 5)
  local free = math.min(tonumber(ARGV[7 + index]), room - #claimed)

  for _, id in ipairs(redis.call('ZRANGE', delayed, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)) do
    redis.call('ZREM', delayed, id)
    redis.call('ZADD', waiting, redis.call('HGET', pace, 'virtual') or '0', id)
  end

  if free > 0 then
    local ended = redis.call('ZRANGE', running, '-inf', '(' .. now, 'BYSCORE', 'LIMIT', 0, free, 'WITHSCORES')
    for entry = 1, #ended, 2 do
      local id, ended_ms = ended[entry], now - tonumber(ended[entry + 1])
      -- Whoever asks is alive: what it holds itself it is late with, and renews with its next heartbeat.
      local is_own = redis.call('HGET', ARGV[4] .. id, 'owner') == worker and ended_ms < OWN_GRACE_LEASES * lease_ms
      if not is_own and claim(id, running, true) == 'claimed' then free = free - 1 end
    end
  end

  local left = {}
  while free > 0 and #left < 2 * MOST_LEFT do
    local first = redis.call('ZPOPMIN', waiting)
    if #first == 0 then break end
    local outcome, lag = claim(first[1], running, false)
    if outcome == 'left' then
      left[#left + 1] = first[2]
      left[#left + 1] = first[1]
    elseif outcome == 'claimed' then
      free = free - 1
      local start = tonumber(first[2]) - lag
      if start > tonumber(redis.call('HGET', pace, 'virtual') or '0') then
        start = string.format('%.6f', start)
        redis.call('HSET', pace, 'virtual', start)
        redis.call('ZREMRANGEBYSCORE', fair, '-inf', start)
      end
    end
  end
  if #left > 0 then redis.call('ZADD', waiting, unpack(left)) end
end
return claimed
