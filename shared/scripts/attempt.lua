-- Lets an attempt to prove who one is go on, and counts it as failed until its outcome is known: of guesses that are
-- made at once no more pass than one after the other. One that has to wait is not counted. Runs after failures.lua.
-- KEYS 1 failures of the address; where an account is named, 2 its failures, 3 those of it from this address alone,
--      4 the mark that the account has been proven from there: then 3 counts instead of 2, so that strangers
--      cannot keep its owner out
-- ARGV 1-3 of an address, 4-6 of an account (see failures.lua)
-- Returns {ms to wait (0: it goes on), KEYS index of who makes it wait (0), KEYS index of what counts for the account}
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local parties, account = {failures_read(KEYS[1], ARGV, 1, now_ms)}, 0
if #KEYS > 1 then
  account = redis.call('EXISTS', KEYS[4]) == 1 and 3 or 2
  parties[2] = failures_read(KEYS[account], ARGV, 4, now_ms)
end
local wait_ms, by = 0, 0
for i, party in ipairs(parties) do
  if party.wait_ms > wait_ms then wait_ms, by = party.wait_ms, i end
end
if wait_ms == 0 then
  for _, party in ipairs(parties) do failures_count(party, now_ms) end
end
return {wait_ms, by, account}
