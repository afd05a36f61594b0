-- Harvester: the verdict of assignments with which their jobs succeeded, all in the same words; guards as in settle.sql.
-- Most ends are such: nothing is counted, no next attempt is planned, and the job's row is the record of its attempt.
-- $1 source states, $2 reason, $3 message, $4 exit code; per row: $5 id, $6 fence, $7 ran ms (null: never started), $8 result
WITH won AS (
    UPDATE jobs j
    SET state = 'succeeded', reason = $2, message = $3, since = clock_timestamp(), finished_at = clock_timestamp(),
        started_at = CASE WHEN j.started_at IS NULL AND i.ran_ms IS NOT NULL
                          THEN clock_timestamp() - i.ran_ms * interval '1 millisecond' ELSE j.started_at END,
        assignment_state = NULL, exit_code = $4, result = i.result
    FROM unnest($5::bigint[], $6::bigint[], $7::bigint[], $8::jsonb[]) AS i (id, fence, ran_ms, result)
    WHERE j.id = i.id AND j.fence = i.fence AND j.state = ANY ($1::text[])
    RETURNING j.id, j.fence, j.user_id, j.worker_id, j.state, j.array_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, state, $2, $3, fence, worker_id FROM won
)
SELECT id, fence, worker_id, state, array_id,
    EXISTS (SELECT FROM job_dependencies d WHERE d.parent_id = won.id AND d.met IS NULL) AS waited_for
FROM won
