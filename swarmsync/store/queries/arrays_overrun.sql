-- Harvester: arrays with more failures than their max_failures: members that wait end here, the others are to be stopped.
-- $1 arrays, $2 states that end here, $3 states to stop, $4 reason
WITH over AS (
    SELECT a.id, c.failed, (a.rules::jsonb ->> 'failures')::numeric AS failures FROM jobs a
    CROSS JOIN LATERAL (SELECT count(*) AS failed FROM jobs m WHERE m.array_id = a.id AND m.state IN ('failed', 'timed_out')) c
    WHERE a.id = ANY ($1::bigint[]) AND a.finished_at IS NULL AND a.rules IS NOT NULL
      AND c.failed > (a.rules::jsonb ->> 'failures')::numeric
), target AS (
    SELECT m.id, format('%s of its array failed, more than max_failures: %s', o.failed, o.failures) AS message
    FROM over o JOIN jobs m ON m.array_id = o.id AND m.finished_at IS NULL
    WHERE m.state = ANY ($2::text[]) OR m.state = ANY ($3::text[])
    ORDER BY m.id FOR UPDATE OF m
), won AS (
    UPDATE jobs j
    SET state = CASE WHEN j.state = ANY ($2::text[]) THEN 'cancelled' ELSE 'stopping' END, reason = $4, message = t.message,
        since = clock_timestamp(), finished_at = CASE WHEN j.state = ANY ($2::text[]) THEN clock_timestamp() END,
        stop_reason = COALESCE(j.stop_reason, $4)
    FROM target t WHERE j.id = t.id AND (j.state = ANY ($2::text[]) OR j.state = ANY ($3::text[]))
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence, j.worker_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, state, reason, message, fence, worker_id FROM won
)
SELECT id FROM won
