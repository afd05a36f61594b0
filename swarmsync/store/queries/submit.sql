-- API: jobs with their specs and first events, and the idempotency keys of the requests that make them, in one statement,
-- for one request or for several of one user. Where a key is known already, nothing of its request happens; two requests
-- with one key wait for each other at its row.
-- $1 user, $2 rerun of; per key: $3 keys, $4 body hashes, $5 statuses, $6 responses
-- per spec: $7 ids, $8 its request's key or null, $9 now, $10 documents, $11 sha256, $12 queues, $13 names, $14 states,
-- $15 reasons, $16 messages, $17 priorities, $18 labels, $19 shapes, $20 cpus, $21 memory, $22 gpus, $23 disk,
-- $24 grace ms, $25 run at, $26 expires at, $27 array sizes, $28 rules, $29 concurrency keys, $30 deadlines
-- per job: $31 ids, $32 spec ids, $33 array ids, $34 array indexes, $35 lines
-- $36 whether this is all of the transaction: then nothing happens where a queue has a bound, which is looked at after it
WITH bounded AS MATERIALIZED (
    SELECT name FROM queues WHERE name = ANY ($12::text[]) AND max_waiting IS NOT NULL
), go AS MATERIALIZED (
    SELECT WHERE NOT ($36::boolean AND EXISTS (SELECT FROM bounded))
), key AS (
    INSERT INTO idempotency_keys (user_id, key, body_hash, status, response)
    SELECT $1::bigint, i.key, i.body_hash, i.status, i.response
    FROM unnest($3::text[], $4::bytea[], $5::int[], $6::text[]) AS i (key, body_hash, status, response)
    WHERE EXISTS (SELECT FROM go)
    ORDER BY i.key
    ON CONFLICT (user_id, key) DO NOTHING
    RETURNING key
), s AS MATERIALIZED (
    SELECT i.* FROM unnest($7::bigint[], $8::text[], $9::timestamptz[], $10::text[], $11::bytea[], $12::text[], $13::text[],
                           $14::text[], $15::text[], $16::text[], $17::smallint[], $18::text[], $19::bigint[], $20::int[],
                           $21::bigint[], $22::int[], $23::bigint[], $24::int[], $25::timestamptz[], $26::timestamptz[],
                           $27::int[], $28::text[], $29::text[], $30::timestamptz[])
        AS i (id, key, now, document, sha256, queue, name, state, reason, message, priority, labels, shape, cpus_milli,
              memory_bytes, gpus, disk_bytes, grace_ms, run_at, expires_at, array_size, rules, concurrency_key, deadline_at)
    WHERE (i.key IS NULL OR i.key IN (SELECT key FROM key)) AND EXISTS (SELECT FROM go)
), kept AS (
    INSERT INTO specs (id, user_id, document, sha256) SELECT id, $1, document, sha256 FROM s
), made AS (
    INSERT INTO jobs (id, user_id, queue, name, state, reason, message, since, priority, labels, spec_id, shape, cpus_milli,
                      memory_bytes, gpus, disk_bytes, grace_ms, submitted_at, run_at, expires_at, rerun_of, array_id,
                      array_index, array_size, line, rules, concurrency_key, deadline_at)
    SELECT j.id, $1, s.queue, s.name, s.state, s.reason, s.message, s.now, s.priority, s.labels::jsonb, s.id, s.shape,
           s.cpus_milli, s.memory_bytes, s.gpus, s.disk_bytes, s.grace_ms, s.now, s.run_at, s.expires_at, $2, j.array_id,
           j.array_index, s.array_size, j.line, s.rules, s.concurrency_key, s.deadline_at
    FROM unnest($31::bigint[], $32::bigint[], $33::bigint[], $34::int[], $35::bigint[])
        AS j (id, spec_id, array_id, array_index, line)
    JOIN s ON s.id = j.spec_id
    RETURNING id, state, reason, message
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message) SELECT id, $1, state, reason, message FROM made
)
SELECT ARRAY(SELECT key FROM key) AS keys,
    ARRAY(SELECT name FROM bounded ORDER BY name) AS bounded, pg_current_xact_id()::text AS xid
