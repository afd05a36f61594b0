-- Harvester: jobs whose last parent has ended go on, those with a condition that can never hold are cancelled; members go
-- with their array. Held ones stay held unless they can never start.
-- $1 jobs, $2 why each can never start (null: it can), $3 states that may be queued, $4 states that may be cancelled, $5 reason
WITH judged AS (
    SELECT i.job_id, i.never FROM unnest($1::bigint[], $2::text[]) AS i (job_id, never)
    WHERE i.never IS NOT NULL
       OR NOT EXISTS (SELECT FROM job_dependencies d WHERE d.job_id = i.job_id AND d.met IS DISTINCT FROM true)
), target AS (
    SELECT j.id, g.never FROM judged g JOIN jobs j ON j.id = g.job_id OR j.array_id = g.job_id
    WHERE g.never IS NOT NULL AND j.state = ANY ($4::text[]) OR g.never IS NULL AND j.state = 'blocked'
    ORDER BY j.id FOR UPDATE OF j
), won AS (
    UPDATE jobs j
    SET state = CASE WHEN never IS NOT NULL THEN 'cancelled' WHEN j.run_at > clock_timestamp() THEN 'scheduled' ELSE 'queued' END,
        reason = CASE WHEN never IS NOT NULL THEN $5 WHEN j.run_at > clock_timestamp() THEN 'StartTime' ELSE '' END,
        message = COALESCE(never, ''), since = clock_timestamp(),
        finished_at = CASE WHEN never IS NOT NULL THEN clock_timestamp() END,
        stop_reason = CASE WHEN never IS NOT NULL THEN $5 ELSE j.stop_reason END
    FROM target t
    WHERE j.id = t.id AND (t.never IS NOT NULL AND j.state = ANY ($4::text[]) OR t.never IS NULL AND j.state = ANY ($3::text[]))
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence, j.array_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence)
    SELECT id, user_id, state, reason, message, fence FROM won
)
SELECT id, state, array_id IS NULL AS own FROM won
