-- API: hold or release one job, or the members of an array; where the start is still to come, a release ends in
-- `scheduled`, and where a job it waits for has not ended, in `blocked`. Rows that are not in a source state stay as they are.
-- $1 job, $2 as a member list of that array, $3 source states, $4 new state, $5 reason, $6 message,
-- which the event has, too; a released job's row says what it waits for instead,
-- $7 new state where run_at is ahead (null: the same), $8 its reason, $9 new state with open dependencies, $10 its reason
WITH target AS (
    SELECT id, ($7::text IS NOT NULL AND run_at > clock_timestamp()) AS later,
        $9::text IS NOT NULL AND EXISTS (SELECT FROM job_dependencies d
                                         WHERE d.job_id = COALESCE(jobs.array_id, jobs.id) AND d.met IS NOT TRUE) AS open
    FROM jobs
    WHERE (($2 AND array_id = $1) OR (NOT $2 AND id = $1)) AND state = ANY ($3::text[])
    ORDER BY id FOR UPDATE
), won AS (
    UPDATE jobs j
    SET state = CASE WHEN open THEN $9 WHEN later THEN $7 ELSE $4 END,
        reason = CASE WHEN open THEN $10 WHEN later THEN $8 ELSE $5 END,
        message = CASE WHEN open THEN 'waits for other jobs'
                       WHEN later THEN 'starts at ' || to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                       WHEN $7::text IS NOT NULL THEN '' ELSE $6 END,
        since = clock_timestamp()
    FROM target WHERE j.id = target.id AND j.state = ANY ($3::text[])
    RETURNING j.id, j.user_id, j.state, j.reason, j.fence
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence)
    SELECT id, user_id, state, reason, $6, fence FROM won
)
SELECT id FROM won
