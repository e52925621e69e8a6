-- What a job that ends leaves to its owners. Functions for the script after it. Runs after bucket.lua and job_lists.lua.

-- Has a job count as ended, and its owners pay for the tokens that it has used instead of what was reserved: once,
-- however often it is called. Takes a table:
--   id, hash       of the job, and its key
--   used           tokens, as Ollama has counted them; nil: it did not come to that
--   answered       how many pieces of an answer there are, each about a token; then the prompt was read, too
--   listed_ms      for how long it stays on its owners' lists; nil: until its end is told, which is still to come
--   now_us
local function settle(job)
  local state = redis.call('HMGET', job.hash, 'lists', 'budgets', 'reserved_tokens', 'prompt_tokens',
    'time_to_live_ms')
  local lists = {}
  for list in string.gmatch(state[1] or '', '%S+') do
    lists[#lists + 1] = list
  end
  list_ended(lists, job.id, math.floor(job.now_us / 1000), job.listed_ms or state[5] or 0)
  if not state[2] then return end
  redis.call('HDEL', job.hash, 'budgets')
  local used = job.used or (job.answered > 0 and job.answered + state[4] or 0)
  for bucket, interval in string.gmatch(state[2], '(%S+) (%d+)') do
    bucket_charge(bucket, job.now_us, interval * (used - state[3]))
  end
end
