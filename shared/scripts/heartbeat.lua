-- Renews a worker's leases and its own place among the living.
-- KEYS 1 workers
-- ARGV 1 worker id, 2 job lease ms, 3 worker lease ms, 4 job prefix, 5 running prefix, 6 log prefix,
--      then per job: id, epoch, model, least number of entries of its log
-- Returns {1 if the worker was not among the living, else 0, then per job: 'held', 'taken' (another owner), 'missing' (Redis lost it, or its claim, or a part of its
--      log) or 'stop:<code>' (held, and to be stopped)}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local was_forgotten = redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - 60000))

local lease_end = string.format('%.0f', now + tonumber(ARGV[2]))
local answers = {was_forgotten}
for index = 7, #ARGV, 4 do
  local id, epoch, model, entries = ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3]
  local state = redis.call('HMGET', ARGV[4] .. id, 'epoch', 'stop')
  if state[1] and tonumber(state[1]) > tonumber(epoch) then
    answers[#answers + 1] = 'taken'
  elseif state[1] ~= epoch or redis.call('XLEN', ARGV[6] .. id) < tonumber(entries) then
    answers[#answers + 1] = 'missing'
  else
    redis.call('ZADD', ARGV[5] .. model, 'XX', lease_end, id)
    answers[#answers + 1] = state[2] and ('stop:' .. state[2]) or 'held'
  end
end
return answers
