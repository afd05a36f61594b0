-- API: change what may change of a job and its members. Name and labels in any state; priority, queue and the spec only
-- while waiting, with an event, so that the Scheduler reads the row again.
-- $1 job, $2 name, $3 labels to set, $4 labels to remove, $5 waiting states, $6 priority, $7 queue, $8 spec, $9 its rules,
-- $10 line (null: queue and spec stay)
WITH target AS (
    SELECT id FROM jobs WHERE id = $1 OR array_id = $1 ORDER BY id FOR UPDATE
), won AS (
    UPDATE jobs j
    SET name = COALESCE($2, j.name), labels = (j.labels || COALESCE($3::jsonb, '{}')) - $4::text[],
        priority = CASE WHEN j.state = ANY ($5::text[]) THEN COALESCE($6, j.priority) ELSE j.priority END,
        queue = CASE WHEN j.state = ANY ($5::text[]) THEN COALESCE($7, j.queue) ELSE j.queue END,
        spec_id = CASE WHEN j.state = ANY ($5::text[]) THEN COALESCE($8, j.spec_id) ELSE j.spec_id END,
        rules = CASE WHEN j.state = ANY ($5::text[]) AND $8::bigint IS NOT NULL THEN $9 ELSE j.rules END,
        line = CASE WHEN j.state = ANY ($5::text[]) THEN COALESCE($10, j.line) ELSE j.line END
    FROM target WHERE j.id = target.id
    RETURNING j.id, j.user_id, j.state, j.reason, j.message, j.fence
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence)
    SELECT id, user_id, state, reason, message, fence FROM won
    WHERE state = ANY ($5::text[]) AND ($6::smallint IS NOT NULL OR $10::bigint IS NOT NULL)
)
SELECT id FROM won
