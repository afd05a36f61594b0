-- Hibernator: jobs that waited longer than their queue_timeout, or past their deadline (these also between attempts); an
-- array only while none of its members was given to a worker. $1 limit, $2 source states
WITH late AS (
    SELECT id FROM jobs a
    WHERE state IN ('held', 'scheduled', 'blocked', 'queued') AND expires_at IS NOT NULL AND expires_at <= statement_timestamp()
      AND (fence = 0 OR deadline_at <= statement_timestamp())
      AND (array_size IS NULL OR array_id IS NOT NULL OR NOT EXISTS (SELECT FROM jobs m WHERE m.array_id = a.id AND m.fence > 0))
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), won AS (
    UPDATE jobs j SET state = 'expired', reason = CASE WHEN j.deadline_at <= statement_timestamp() THEN 'DeadlinePassed' ELSE 'QueueTimeout' END, since = clock_timestamp(), finished_at = clock_timestamp(),
        message = CASE WHEN j.deadline_at <= statement_timestamp()
                       THEN format('was not started before its deadline (%s UTC)', to_char(j.deadline_at, 'YYYY-MM-DD HH24:MI:SS'))
                       ELSE format('was not started within its queue_timeout (by %s UTC)', to_char(j.expires_at, 'YYYY-MM-DD HH24:MI:SS')) END
    FROM late WHERE j.id = late.id AND j.state = ANY ($2::text[])
    RETURNING j.id, j.user_id, j.reason, j.message, j.fence
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence)
    SELECT id, user_id, 'expired', reason, message, fence FROM won
)
SELECT id FROM won
