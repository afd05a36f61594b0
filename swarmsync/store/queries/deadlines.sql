-- Hibernator: jobs that still run at their deadline are to be stopped. $1 limit, $2 source states, $3 reason
WITH late AS (
    SELECT id FROM jobs
    WHERE deadline_at <= statement_timestamp() AND finished_at IS NULL AND assignment_state IS NOT NULL
      AND state = ANY ($2::text[])
    ORDER BY deadline_at LIMIT $1 FOR UPDATE SKIP LOCKED
), won AS (
    UPDATE jobs j SET state = 'stopping', reason = $3, since = clock_timestamp(), stop_reason = COALESCE(j.stop_reason, $3),
        message = format('its deadline passed (%s UTC)', to_char(j.deadline_at, 'YYYY-MM-DD HH24:MI:SS'))
    FROM late WHERE j.id = late.id AND j.state = ANY ($2::text[])
    RETURNING j.id, j.user_id, j.reason, j.message, j.fence, j.worker_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, 'stopping', reason, message, fence, worker_id FROM won
)
SELECT id FROM won
