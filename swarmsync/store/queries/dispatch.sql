-- Dispatcher: give queued jobs to workers; the fence rises in the same statement, for what a restored backup held beyond
-- every fence that was given out since the backup. Jobs that are not queued any more
-- (cancelled, held, placed by a predecessor) are left out of the answer.
-- $1 job ids, $2 worker ids, $3 order message numbers, $4 orders epoch, $5 source states, $6 whether to leave out all where
-- anything but room can keep a plain job waiting (as any_quota.sql), $7 whether the answer holds the specs' documents
WITH won AS (
    UPDATE jobs j
    SET state = 'starting', reason = '', message = 'ordered to a worker', since = clock_timestamp(),
        fence = CASE WHEN j.id <= (SELECT restored_id FROM engine_epoch)
                     THEN greatest(j.fence, (SELECT fence_floor FROM engine_epoch)) ELSE j.fence END + 1,
        worker_id = i.worker_id, session = NULL, assignment_state = 'offered', offered_at = clock_timestamp(),
        orders_epoch = $4, orders_seq = i.seq, started_at = NULL
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS i (id, worker_id, seq)
    WHERE j.id = i.id AND j.state = ANY ($5::text[])
      AND NOT ($6::boolean AND (SELECT EXISTS (SELECT FROM queues WHERE paused OR max_running IS NOT NULL
                                                  OR max_running_per_user IS NOT NULL OR max_cpus_milli IS NOT NULL
                                                  OR max_memory_bytes IS NOT NULL)
                                    OR EXISTS (SELECT FROM user_limits)))
    RETURNING j.id, j.fence, j.worker_id, j.user_id, j.orders_seq, j.name, j.spec_id, j.cpus_milli, j.memory_bytes,
        j.gpus, j.disk_bytes, j.grace_ms, j.array_index, j.array_size, j.image
), told AS (
    INSERT INTO job_events (job_id, user_id, state, fence, worker_id)
    SELECT id, user_id, 'starting', fence, worker_id FROM won
)
SELECT won.*, CASE WHEN $7::boolean THEN (SELECT document FROM specs WHERE specs.id = won.spec_id) END AS document FROM won
