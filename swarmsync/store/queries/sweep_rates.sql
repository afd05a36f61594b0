-- Hibernator: forget starts that no rate counts any more. $1 how old they are, in milliseconds, $2 limit
DELETE FROM rate_starts WHERE (job_id, fence) IN (
    SELECT job_id, fence FROM rate_starts WHERE at < clock_timestamp() - $1 * interval '1 millisecond' ORDER BY at LIMIT $2
)
