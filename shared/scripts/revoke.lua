-- Marks credentials as revoked, and tells every gateway.
-- KEYS one per credential
-- ARGV 1 how long it is to be known, ms, 2 channel of the gateways, 3… the credentials
for _, key in ipairs(KEYS) do
  redis.call('SET', key, '1', 'PX', ARGV[1])
end
redis.call('PUBLISH', ARGV[2], table.concat(ARGV, ' ', 3))
