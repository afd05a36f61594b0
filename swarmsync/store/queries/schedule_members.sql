-- Hibernator, API: the members of new arrays, made after the array's own row. $1 ids, $2 array ids, $3 indexes
WITH made AS (
    INSERT INTO jobs (id, schedule_id, user_id, spec_id, queue, name, state, reason, message, since, priority, labels, shape,
                      cpus_milli, memory_bytes, gpus, disk_bytes, grace_ms, submitted_at, run_at, expires_at, array_size,
                      array_id, array_index, line, rules, concurrency_key, deadline_at)
    SELECT m.id, a.schedule_id, a.user_id, a.spec_id, a.queue, a.name, a.state, a.reason, a.message, a.since, a.priority,
           a.labels, a.shape, a.cpus_milli, a.memory_bytes, a.gpus, a.disk_bytes, a.grace_ms, a.submitted_at, a.run_at,
           a.expires_at, a.array_size, a.id, m.array_index, a.line, a.rules, a.concurrency_key, a.deadline_at
    FROM unnest($1::bigint[], $2::bigint[], $3::int[]) AS m (id, array_id, array_index) JOIN jobs a ON a.id = m.array_id
    RETURNING id, user_id, state, reason, message
)
INSERT INTO job_events (job_id, user_id, state, reason, message) SELECT id, user_id, state, reason, message FROM made
