-- API: end the oldest jobs of a concurrency key, to make room. $1 user, $2 key, $3 how many, $4 states that end here,
-- $5 states to stop, $6 reason, $7 message, $8 jobs to spare
WITH target AS (
    SELECT id FROM jobs
    WHERE concurrency_key = $2 AND user_id = $1 AND finished_at IS NULL AND (array_size IS NULL OR array_id IS NOT NULL)
      AND (state = ANY ($4::text[]) OR state = ANY ($5::text[])) AND NOT COALESCE(array_id, id) = ANY ($8::bigint[])
    ORDER BY id LIMIT $3 FOR UPDATE
), won AS (
    UPDATE jobs j
    SET state = CASE WHEN j.state = ANY ($4::text[]) THEN 'cancelled' ELSE 'stopping' END, reason = $6, message = $7,
        since = clock_timestamp(), finished_at = CASE WHEN j.state = ANY ($4::text[]) THEN clock_timestamp() END,
        stop_reason = COALESCE(j.stop_reason, $6)
    FROM target WHERE j.id = target.id AND (j.state = ANY ($4::text[]) OR j.state = ANY ($5::text[]))
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence, j.worker_id
)
INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
SELECT id, user_id, state, reason, message, fence, worker_id FROM won
