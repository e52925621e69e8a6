-- Tells how an attempt came out that attempt.lua has counted as failed; one that did fail needs no telling. Runs after
-- failures.lua.
-- KEYS 1 failures of the address; where an account is named, 2 what counted for it, 3 the mark that it has been
--      proven from there
-- ARGV 1 '1': who one is has been proven, '0': nothing has been found out; 2 ms for which the mark is kept
failures_take_back(KEYS[1])
if KEYS[2] and ARGV[1] == '1' then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])
elseif KEYS[2] then
  failures_take_back(KEYS[2])
end
