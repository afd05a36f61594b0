-- Scheduler, at its start and on Resync: starts that may still count against a rate, the oldest first. $1 limit
SELECT key, job_id, ago_ms FROM (
    SELECT key, job_id, at, (extract(epoch FROM clock_timestamp() - at) * 1000)::bigint AS ago_ms FROM rate_starts
    WHERE at > clock_timestamp() - interval '1 day' ORDER BY at DESC LIMIT $1
) latest ORDER BY at
