-- Ends the leases of a worker that is known to be dead, so that others need not wait for their end.
-- KEYS 1 workers, then per model: running
-- ARGV 1 worker id, 2 job prefix, then per model: wake channel
-- Returns how many jobs it held
local released = 0
redis.call('ZREM', KEYS[1], ARGV[1])
for index = 2, #KEYS do
  local held = 0
  for _, id in ipairs(redis.call('ZRANGE', KEYS[index], 0, -1)) do
    if redis.call('HGET', ARGV[2] .. id, 'owner') == ARGV[1] then
      redis.call('ZADD', KEYS[index], 'XX', 0, id)
      held = held + 1
    end
  end
  if held > 0 then redis.call('PUBLISH', ARGV[index + 1], '') end
  released = released + held
end
return released
