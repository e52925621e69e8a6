-- Idempotency keys: requests of one user with one key are one job. Functions for the script after it.
-- A key's whole state is one string: the id of its job, a space, and the fingerprint of the request that became it.

-- Returns the id of the job that a key stands for, whether its request had this fingerprint, and whether the job is only
-- reserved; nil when the key is free, also because Redis has lost its job, or because what it holds is malformed.
local function idempotency_find(key, fingerprint, job_prefix, reserved)
  local held = redis.call('GET', key)
  if not held then return nil end
  local id, its_fingerprint = string.match(held, '^(%S+) (%S+)$')
  if not id then return nil end
  local is_reserved = redis.call('EXISTS', job_prefix .. id) == 0
  if is_reserved and not redis.call('ZSCORE', reserved, id) then return nil end
  return id, its_fingerprint == fingerprint, is_reserved
end

-- Has a key stand for a job from now on.
local function idempotency_hold(key, id, fingerprint, kept_ms)
  redis.call('SET', key, id .. ' ' .. fingerprint, 'PX', kept_ms)
end

-- Has a key stand for a job that comes back, unless it has been used since; without key or fingerprint nothing happens.
local function idempotency_hold_if_free(key, id, fingerprint, kept_ms)
  if key and fingerprint ~= '' and redis.call('EXISTS', key) == 0 then idempotency_hold(key, id, fingerprint, kept_ms) end
end

-- Frees a key for the next request, if it (still) stands for this job; without a key nothing happens.
local function idempotency_release(key, id)
  local held = key and redis.call('GET', key)
  if held and string.sub(held, 1, #id) == id then redis.call('DEL', key) end
end
