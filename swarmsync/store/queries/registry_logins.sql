-- Dispatcher: the sealed logins of image registries. $1 limit
SELECT registry, username, sealed FROM registry_logins ORDER BY registry LIMIT $1
