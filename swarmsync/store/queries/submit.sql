-- API: jobs with their specs and first events, and the request's idempotency key, in one statement. Where the key is
-- known already nothing happens and the answer is false; two requests with one key wait for each other at its row.
-- $1 user, $2 key or null, $3 body hash, $4 status, $5 response, $6 now, $7 rerun of
-- per spec: $8 ids, $9 documents, $10 sha256, $11 queues, $12 names, $13 states, $14 reasons, $15 messages,
-- $16 priorities, $17 labels, $18 shapes, $19 cpus, $20 memory, $21 gpus, $22 disk, $23 grace ms, $24 run at,
-- $25 expires at, $26 array sizes, $27 rules, $28 concurrency keys, $29 deadlines; per job: $30 ids, $31 spec ids,
-- $32 array ids, $33 array indexes, $34 lines
WITH key AS (
    INSERT INTO idempotency_keys (user_id, key, body_hash, status, response)
    SELECT $1::bigint, $2::text, $3::bytea, $4::int, $5::text WHERE $2::text IS NOT NULL
    ON CONFLICT (user_id, key) DO NOTHING
    RETURNING key
), go AS (
    SELECT $2::text IS NULL OR EXISTS (SELECT FROM key) AS ahead
), kept AS (
    INSERT INTO specs (id, user_id, document, sha256)
    SELECT i.id, $1, i.document, i.sha256 FROM unnest($8::bigint[], $9::text[], $10::bytea[]) AS i (id, document, sha256)
    WHERE (SELECT ahead FROM go)
), made AS (
    INSERT INTO jobs (id, user_id, queue, name, state, reason, message, since, priority, labels, spec_id, shape, cpus_milli,
                      memory_bytes, gpus, disk_bytes, grace_ms, submitted_at, run_at, expires_at, rerun_of, array_id,
                      array_index, array_size, line, rules, concurrency_key, deadline_at)
    SELECT j.id, $1, s.queue, s.name, s.state, s.reason, s.message, $6, s.priority, s.labels::jsonb, s.id, s.shape,
           s.cpus_milli, s.memory_bytes, s.gpus, s.disk_bytes, s.grace_ms, $6, s.run_at, s.expires_at, $7, j.array_id,
           j.array_index, s.array_size, j.line, s.rules, s.concurrency_key, s.deadline_at
    FROM unnest($30::bigint[], $31::bigint[], $32::bigint[], $33::int[], $34::bigint[])
        AS j (id, spec_id, array_id, array_index, line)
    JOIN unnest($8::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::smallint[], $17::text[],
                $18::bigint[], $19::int[], $20::bigint[], $21::int[], $22::bigint[], $23::int[], $24::timestamptz[],
                $25::timestamptz[], $26::int[], $27::text[], $28::text[], $29::timestamptz[])
        AS s (id, queue, name, state, reason, message, priority, labels, shape, cpus_milli, memory_bytes, gpus, disk_bytes,
              grace_ms, run_at, expires_at, array_size, rules, concurrency_key, deadline_at) ON s.id = j.spec_id
    WHERE (SELECT ahead FROM go)
    RETURNING id, state, reason, message
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message) SELECT id, $1, state, reason, message FROM made
)
SELECT ahead, ARRAY(SELECT name FROM queues WHERE name = ANY ($11::text[]) AND max_waiting IS NOT NULL ORDER BY name) AS bounded
FROM go
