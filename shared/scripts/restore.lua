-- Puts a claimed job back of which Redis has lost all or a part: state, lease and log become what its owner knows.
-- Runs after job_lists.lua and idempotency.lua.
-- KEYS 1 job, 2 payload, 3 log, 4 waiting, 5 delayed, 6 running, 7 deadlines, 8 attended,
--      9… its owners' lists of jobs, and at last the key that stands for the job, if there is one
-- ARGV 1 id, 2 epoch, 3 lease ms, 4 ms until it must have ended, 5 time to live ms,
--      6 ms for which it goes on unless a gateway says that it has readers (0: it needs none), 7 payload, 8 owner,
--      9 last seq before this owner, 10 last event before this owner (whole if terminal, else its kind),
--      11 fingerprint of the request (empty: it has no key), 12 ms for which its key is kept,
--      13 number of owners' lists, 14 how many fields of the job follow, as name and value, then per entry of this owner:
--      last seq, events
-- Returns how many entries the log has, or 0 when the job has another owner, or has ended: then nothing is changed
local id, epoch, last_seq = ARGV[1], ARGV[2], tonumber(ARGV[9])
local state = redis.call('HMGET', KEYS[1], 'epoch', 'status')
if state[1] and tonumber(state[1]) > tonumber(epoch) then return 0 end
if state[1] == epoch and state[2] ~= 'running' then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function after(ms) return string.format('%.0f', now + tonumber(ms)) end

local first_entry, lists = 15 + 2 * tonumber(ARGV[14]), {unpack(KEYS, 9, 8 + ARGV[13])}
redis.call('HSET', KEYS[1], unpack(ARGV, 15, first_entry - 1))
if not state[1] and redis.call('HEXISTS', KEYS[1], 'budgets') == 1 then
  redis.call('HSET', KEYS[1], 'reserved_tokens', '0')  -- that was lost with the job
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('SET', KEYS[2], ARGV[7], 'PX', ARGV[5])
redis.call('ZREM', KEYS[4], id)  -- a gateway may have submitted it again
redis.call('ZREM', KEYS[5], id)
redis.call('ZADD', KEYS[6], after(ARGV[3]), id)
redis.call('ZADD', KEYS[7], after(ARGV[4]), id)
if ARGV[6] ~= '0' then redis.call('ZADD', KEYS[8], 'NX', after(ARGV[6]), id) end
list_live(lists, id, now, ARGV[5])
idempotency_hold_if_free(KEYS[9 + #lists], id, ARGV[11], ARGV[12])

-- What is missing in the middle cannot be filled in, since ids only rise: the log is made anew. Of earlier owners, what
-- this one took over stays; an owner that was lost may have put back more than that.
local before = redis.call('XRANGE', KEYS[3], '-', '(' .. epoch .. '-0')
redis.call('UNLINK', KEYS[3])
for _, entry in ipairs(before) do
  if tonumber(string.match(entry[1], '-(%d+)$')) <= last_seq then
    redis.call('XADD', KEYS[3], entry[1], unpack(entry[2]))
  end
end
redis.call('XADD', KEYS[3], epoch .. '-0', 'o', ARGV[8], 's', ARGV[9], 'l', ARGV[10])
for index = first_entry, #ARGV, 2 do
  redis.call('XADD', KEYS[3], epoch .. '-' .. ARGV[index], 'e', ARGV[index + 1])
end
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return redis.call('XLEN', KEYS[3])
