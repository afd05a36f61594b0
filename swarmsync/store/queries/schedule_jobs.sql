-- Hibernator, API: the jobs of fires with their first events; members of arrays come with schedule_members. $1 now
-- per job: $2 ids, $3 schedules, $4 users, $5 specs, $6 queues, $7 names, $8 states, $9 reasons, $10 messages,
-- $11 priorities, $12 labels, $13 shapes, $14 cpus, $15 memory, $16 gpus, $17 disk, $18 grace ms, $19 run at,
-- $20 expires at, $21 array sizes, $22 lines, $23 rules, $24 concurrency keys, $25 deadlines
WITH made AS (
    INSERT INTO jobs (id, schedule_id, user_id, spec_id, queue, name, state, reason, message, since, priority, labels, shape,
                      cpus_milli, memory_bytes, gpus, disk_bytes, grace_ms, submitted_at, run_at, expires_at, array_size,
                      line, rules, concurrency_key, deadline_at)
    SELECT n.id, n.schedule_id, n.user_id, n.spec_id, n.queue, n.name, n.state, n.reason, n.message, $1, n.priority,
           n.labels::jsonb, n.shape, n.cpus_milli, n.memory_bytes, n.gpus, n.disk_bytes, n.grace_ms, $1, n.run_at,
           n.expires_at, n.array_size, n.line, n.rules, n.concurrency_key, n.deadline_at
    FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
                $10::text[], $11::smallint[], $12::text[], $13::bigint[], $14::int[], $15::bigint[], $16::int[],
                $17::bigint[], $18::int[], $19::timestamptz[], $20::timestamptz[], $21::int[],
                $22::bigint[], $23::text[], $24::text[], $25::timestamptz[])
        AS n (id, schedule_id, user_id, spec_id, queue, name, state, reason, message, priority, labels, shape, cpus_milli,
              memory_bytes, gpus, disk_bytes, grace_ms, run_at, expires_at, array_size, line, rules, concurrency_key, deadline_at)
    RETURNING id, user_id, state, reason, message
)
INSERT INTO job_events (job_id, user_id, state, reason, message) SELECT id, user_id, state, reason, message FROM made
