-- Says that jobs are read, or until when they may go unread; jobs that have ended stay gone.
-- KEYS 1 attended
-- ARGV 1 ms from now at which the jobs are cancelled unless somebody says otherwise, 2… job ids
local time = redis.call('TIME')
local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1]))
for index = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', due, ARGV[index])
end
return #ARGV - 1
