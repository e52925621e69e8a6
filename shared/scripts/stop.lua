-- Stops a job: one that no live worker holds ends here and now, one that runs is ended by its worker.
-- KEYS 1 job, 2 log, 3 payload, 4 deadlines, 5 attended
-- ARGV 1 id, 2 user id (empty: whoever's), 3 code, 4 status it ends with, 5 terminal event (kind + payload, with the
--      request id left open as %s), 6 retention ms, 7 waiting prefix, 8 delayed prefix, 9 running prefix,
--      10 control channel prefix
-- Returns nothing when there is no such job, or it is another user's; otherwise its model, and 'stopping' or the
--      status it has ended with, now or before
local RETRY_MS = 2000  -- a worker that dies before it obeys must not leave the job for ever
local state = redis.call('HMGET', KEYS[1], 'status', 'user', 'model', 'epoch', 'channel', 'owner', 'request_id')
local id, status, model, channel, owner = ARGV[1], state[1], state[3], state[5], state[6]
if not status then
  redis.call('ZREM', KEYS[4], id)  -- it has expired, and would be found due for ever
  redis.call('ZREM', KEYS[5], id)
  return false
end
if ARGV[2] ~= '' and ARGV[2] ~= state[2] then return false end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if status == 'running' and tonumber(redis.call('ZSCORE', ARGV[9] .. model, id) or '0') >= now then
  redis.call('ZREM', KEYS[5], id)
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + RETRY_MS), id)
  redis.call('HSET', KEYS[1], 'stop', ARGV[3])
  redis.call('PUBLISH', ARGV[10] .. owner, ARGV[3] .. ' ' .. id)
  return {model, 'stopping'}
end

redis.call('ZREM', KEYS[4], id)
redis.call('ZREM', KEYS[5], id)
if status ~= 'queued' and status ~= 'running' then return {model, status} end

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local seq = 1
if newest then
  seq = (newest[2][1] == 'o' and newest[2][4] or string.match(newest[1], '-(%d+)$')) + 1
end
local event = string.gsub(ARGV[5], '%%s', state[7])
local epoch = string.format('%.0f', math.max(tonumber(state[4]) + 1, now))
redis.call('ZREM', ARGV[7] .. model, id)
redis.call('ZREM', ARGV[8] .. model, id)
redis.call('ZREM', ARGV[9] .. model, id)
redis.call('XADD', KEYS[2], epoch .. '-' .. seq, 'e', event)
redis.call('PUBLISH', channel, struct.pack('>c36I8I4I4I4', id, tonumber(epoch), seq, seq, #event) .. event)
redis.call('UNLINK', KEYS[3])
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'epoch', epoch)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return {model, ARGV[4]}
