-- Harvester: containers that run now. (`state || ''` keeps the planner on the primary key: with the bare column it scans a
-- partial index once per row of the batch.)
-- $1 job ids, $2 fences, $3 milliseconds since the start, $4 source states,
-- $5 what the worker measured before it, $6 what their images' tags meant (empty: not known)
WITH won AS (
    UPDATE jobs j
    SET state = CASE WHEN j.state = ANY ($4::text[]) THEN 'running' ELSE j.state END,
        reason = CASE WHEN j.state = ANY ($4::text[]) THEN '' ELSE j.reason END,
        message = CASE WHEN j.state = ANY ($4::text[]) THEN '' ELSE j.message END,
        since = CASE WHEN j.state = ANY ($4::text[]) THEN clock_timestamp() ELSE j.since END,
        assignment_state = CASE WHEN j.state = 'stopping' THEN 'stopping' ELSE 'running' END,
        started_at = clock_timestamp() - i.ago_ms * interval '1 millisecond', prepared = i.prepared,
        image = COALESCE(j.image, NULLIF(i.image, ''))
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $5::jsonb[], $6::text[])
        AS i (id, fence, ago_ms, prepared, image)
    WHERE j.id = i.id AND j.fence = i.fence AND j.state || '' IN ('starting', 'stopping') AND j.started_at IS NULL
    RETURNING j.id, j.fence, j.user_id, j.state, j.worker_id, j.array_id
), told AS (
    INSERT INTO job_events (job_id, user_id, state, fence, worker_id)
    SELECT id, user_id, state, fence, worker_id FROM won WHERE state = 'running'
), arrays AS (
    UPDATE jobs a SET state = 'running', since = clock_timestamp(), started_at = clock_timestamp(), message = ''
    FROM (SELECT DISTINCT array_id FROM won WHERE array_id IS NOT NULL) w
    WHERE a.id = w.array_id AND a.state || '' = 'queued'
    RETURNING a.id, a.user_id
), arrays_told AS (
    INSERT INTO job_events (job_id, user_id, state) SELECT id, user_id, 'running' FROM arrays
)
SELECT id FROM won UNION ALL SELECT id FROM arrays
