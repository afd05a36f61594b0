-- Harvester: what still runs on workers whose drain is over is to be stopped; it is queued again for others.
-- $1 source states, $2 reason
WITH late AS (
    SELECT j.id FROM workers w JOIN jobs j ON j.worker_id = w.id
    WHERE w.eligibility = 'draining' AND w.drain_until <= clock_timestamp()
      AND j.state IN ('starting', 'running') AND j.assignment_state IS NOT NULL
    ORDER BY j.id FOR UPDATE OF j
), won AS (
    UPDATE jobs j SET state = 'stopping', reason = $2, since = clock_timestamp(), stop_reason = COALESCE(j.stop_reason, $2),
        message = 'its worker was drained and the deadline of that passed'
    FROM late WHERE j.id = late.id AND j.state = ANY ($1::text[])
    RETURNING j.id, j.user_id, j.reason, j.message, j.fence, j.worker_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, 'stopping', reason, message, fence, worker_id FROM won
)
SELECT id FROM won
