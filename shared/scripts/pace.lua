-- How long jobs of a model hold a slot. A function for the script after it.

-- Smooths one more measurement in; 0 is none.
local function measure_service(pace, service_ms)
  if tonumber(service_ms) > 0 then
    local before = tonumber(redis.call('HGET', pace, 'service_ms') or service_ms)
    redis.call('HSET', pace, 'service_ms', string.format('%.0f', before + (service_ms - before) * 0.2))
  end
end
