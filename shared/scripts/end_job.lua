-- Ends jobs that no worker holds. Functions for the script after it. Runs after settle.lua.

-- Returns the seq of the last event in a job's log (0: there is none), and that event: whole if it is the terminal one,
-- else its kind alone. For a job whose log was lost that is an answer in the middle, of which nothing is known.
local function last_event(log, job)
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not newest then
    local begins_after = redis.call('HGET', job, 'begins_after')
    return tonumber(begins_after or '0'), begins_after and 'r' or ''
  end
  local fields = newest[2]
  if fields[1] == 'o' then return tonumber(fields[4]), fields[6] end  -- a claim keeps both
  local events = fields[2]
  local newline = string.find(string.reverse(events), '\n', 1, true)
  local event = newline and string.sub(events, #events - newline + 2) or events
  local kind = string.sub(event, 1, 1)
  return tonumber(string.match(newest[1], '-(%d+)$')), (kind == 'd' or kind == 'e') and event or kind
end

-- Returns the epoch that comes after this one, as text; by time, so that it rises also when Redis has lost everything.
local function next_epoch(epoch, now)
  return string.format('%.0f', math.max(tonumber(epoch) + 1, now))
end

-- Settles a job that no worker ends, from what its log says: `seq` and `last` are what last_event returns.
local function settle_unclaimed(job, seq, last)
  local begins_after = redis.call('HGET', job.hash, 'begins_after') or 0
  local apart = #last > 1 and 2 or 1  -- that a worker began, and the end, if it is there
  -- The last that looks so: what stands before may be a model's. In text a quotation mark has a backslash before it.
  local prompt, completion = string.match(last, '.*"usage":{"prompt_tokens":(%d+),"completion_tokens":(%d+)')
  settle({
    id = job.id, hash = job.hash, used = prompt and prompt + completion,
    answered = math.max(seq - begins_after - apart, 0), listed_ms = job.listed_ms, now_us = job.now_us,
  })
end

-- Ends a job with an error, unless its log has its end already, and takes it off every list. Takes a table:
--   id, epoch, channel                      of the job
--   hash, log, payload, readers             its keys
--   lists                                   the sorted sets that it may be in
--   status                                  what it ends as
--   event                                   kind and payload
--   retention_ms, listed_ms                 how long state and log stay, and it stands on its owners' lists
--   now_us
-- Returns the status that it has ended with, in which epoch, and its last event.
local function end_job(job)
  local status, epoch, event, now = job.status, job.epoch, job.event, math.floor(job.now_us / 1000)
  local seq, last = last_event(job.log, job.hash)
  settle_unclaimed(job, seq, last)
  if #last > 1 then
    status, event = string.sub(last, 1, 1) == 'd' and 'completed' or 'failed', last
  else
    epoch, seq = next_epoch(epoch, now), seq + 1
    redis.call('XADD', job.log, epoch .. '-' .. seq, 'e', event)
    redis.call('PUBLISH', job.channel, struct.pack('>c36I8I4I4I4', job.id, tonumber(epoch), seq, seq, #event) .. event)
  end
  for _, list in ipairs(job.lists) do
    redis.call('ZREM', list, job.id)
  end
  redis.call('UNLINK', job.payload, job.readers)
  redis.call('HSET', job.hash, 'status', status, 'epoch', epoch, 'ended_ms', string.format('%.0f', now))
  redis.call('PEXPIRE', job.hash, job.retention_ms)
  redis.call('PEXPIRE', job.log, job.retention_ms)
  return status, epoch, event
end
