-- Hibernator: scheduled jobs whose time has come. $1 limit, $2 source states
WITH due AS (
    SELECT id FROM jobs WHERE state = 'scheduled' AND run_at <= statement_timestamp()
    ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED
), won AS (
    UPDATE jobs j SET state = 'queued', reason = '', message = '', since = clock_timestamp()
    FROM due WHERE j.id = due.id AND j.state = ANY ($2::text[])
    RETURNING j.id, j.user_id, j.fence, j.shape, j.cpus_milli, j.memory_bytes, j.gpus, j.disk_bytes, j.priority, j.queue, j.line, j.rules,
        j.array_id, (j.array_size IS NOT NULL AND j.array_id IS NULL) AS is_array
), told AS (
    INSERT INTO job_events (job_id, user_id, state, fence) SELECT id, user_id, 'queued', fence FROM won
)
SELECT * FROM won
