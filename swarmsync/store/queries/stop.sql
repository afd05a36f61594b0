-- API: cancel or kill one job, or all members of an array. Waiting ones end here; placed ones are to be stopped; a kill
-- also hurries those that are being stopped already.
-- $1 job, $2 as a member list of that array, $3 states that end here, $4 their new state, $5 states to stop (and, for a
-- kill, those being stopped; what a drain stops would be queued again, so a cancel takes it over), $6 the state of being stopped, $7 reason, $8 message, $9 kill
WITH target AS (
    SELECT id FROM jobs
    WHERE (($2 AND array_id = $1) OR (NOT $2 AND id = $1))
      AND (state = ANY ($3::text[]) OR state = ANY ($5::text[]) AND NOT (state = $6 AND stop_kill)
           OR state = $6 AND stop_reason IN ('WorkerDrained', 'Preempted'))
    ORDER BY id FOR UPDATE
), won AS (
    UPDATE jobs j
    SET state = CASE WHEN j.state = ANY ($3::text[]) THEN $4 ELSE $6 END,
        reason = CASE WHEN j.state = $6 THEN j.reason ELSE $7 END,
        message = CASE WHEN j.state = $6 THEN j.message ELSE $8 END,
        since = CASE WHEN j.state = $6 THEN j.since ELSE clock_timestamp() END,
        finished_at = CASE WHEN j.state = ANY ($3::text[]) THEN clock_timestamp() END,
        stop_reason = CASE WHEN j.stop_reason IN ('WorkerDrained', 'Preempted') THEN $7 ELSE COALESCE(j.stop_reason, $7) END,
        stop_kill = j.stop_kill OR $9
    FROM target WHERE j.id = target.id AND (j.state = ANY ($3::text[]) OR j.state = ANY ($5::text[]) OR j.state = $6)
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence, j.worker_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, state, reason, message, fence, worker_id FROM won
)
SELECT id FROM won
