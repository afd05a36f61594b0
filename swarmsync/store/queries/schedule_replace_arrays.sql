-- Hibernator: arrays whose members were cancelled end with them, or stop while some still run.
-- $1 schedules, $2 states that end here, $3 states to stop, $4 reason, $5 message
WITH target AS (
    SELECT a.id, NOT EXISTS (SELECT FROM jobs m WHERE m.array_id = a.id AND m.state <> 'cancelled') AS over FROM jobs a
    WHERE a.schedule_id = ANY ($1::bigint[]) AND a.finished_at IS NULL AND a.array_size IS NOT NULL AND a.array_id IS NULL
    ORDER BY a.id FOR UPDATE OF a
), won AS (
    UPDATE jobs a
    SET state = CASE WHEN over AND a.state = ANY ($2::text[]) THEN 'cancelled' WHEN a.state = ANY ($3::text[]) THEN 'stopping'
                     ELSE a.state END,
        finished_at = CASE WHEN over AND a.state = ANY ($2::text[]) THEN clock_timestamp() END,
        reason = $4, message = $5, since = clock_timestamp(), stop_reason = COALESCE(a.stop_reason, $4)
    FROM target WHERE a.id = target.id
    RETURNING a.id, a.user_id, a.state, a.reason, a.message
)
INSERT INTO job_events (job_id, user_id, state, reason, message) SELECT id, user_id, state, reason, message FROM won
