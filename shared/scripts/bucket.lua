-- The state of a rate limit by GCRA (ITU-T I.371), as a bucket that refills. Functions for the script after it.
-- Its whole state is one string: the theoretical arrival time (TAT), which is the µs at which it will be whole again,
-- and the µs at which that was written; without a key it is whole. All numbers are integers, which doubles hold exactly
-- (µs since 1970 need 51 bits of 53).

-- Has a bucket lack `used_us`; what is lacking beyond all of it is a debt.
local function bucket_write(key, now_us, used_us)
  -- A second more than needed: expiry goes by a clock that Redis reads before the script begins.
  local ttl_ms = string.format('%.0f', math.ceil(used_us / 1000) + 1000)
  redis.call('SET', key, string.format('%.0f %.0f', now_us + used_us, now_us), 'PX', ttl_ms)
end

-- Returns for how many µs a bucket refills until it is whole.
local function bucket_used(key, now_us)
  local whole_at, written_at = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  if not whole_at then return 0 end
  if now_us < tonumber(written_at) then
    -- The clock was set back: nobody is locked out until it comes round again.
    bucket_write(key, now_us, whole_at - written_at)
    return whole_at - written_at
  end
  return math.max(whole_at - now_us, 0)
end

-- Takes `us` more from a bucket, whatever it has, or gives back what is negative, up to all of it.
local function bucket_charge(key, now_us, us)
  local used_us = bucket_used(key, now_us) + us
  if used_us > 0 then bucket_write(key, now_us, used_us) else redis.call('DEL', key) end
end
