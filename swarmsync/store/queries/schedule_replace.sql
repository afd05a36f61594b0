-- Hibernator: what is left of earlier jobs is cancelled; arrays follow with schedule_replace_arrays.
-- $1 schedules, $2 states that end here, $3 states to stop, $4 reason, $5 message
WITH target AS (
    SELECT id FROM jobs
    WHERE schedule_id = ANY ($1::bigint[]) AND finished_at IS NULL AND (array_size IS NULL OR array_id IS NOT NULL)
    ORDER BY id FOR UPDATE
), won AS (
    UPDATE jobs j
    SET state = CASE WHEN j.state = ANY ($2::text[]) THEN 'cancelled' ELSE 'stopping' END, reason = $4, message = $5,
        since = clock_timestamp(), finished_at = CASE WHEN j.state = ANY ($2::text[]) THEN clock_timestamp() END,
        stop_reason = COALESCE(j.stop_reason, $4)
    FROM target WHERE j.id = target.id AND (j.state = ANY ($2::text[]) OR j.state = ANY ($3::text[]))
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence, j.worker_id
)
INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
SELECT id, user_id, state, reason, message, fence, worker_id FROM won
