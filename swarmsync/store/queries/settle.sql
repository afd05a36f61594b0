-- Harvester: the verdict of assignments, exactly once each: the fence and the source states guard it; where the end
-- rests on an order message (`orders_*` not null), the order must not have been sent again since; and what was cancelled
-- since the verdict was made is not queued again (the worker's next pulse leads to another verdict).
-- $1 source states; then per row: $2 id, $3 fence, $4 job state, $5 reason, $6 message, $7 exit code, $8 delay ms,
-- $9 tries, $10 crashes, $11 ran ms (null: never started), $12 result, $13 assignment state, $14 outcome,
-- $15 assignment reason, $16 assignment message, $17 orders epoch, $18 orders seq, and for a need that grew (else null):
-- $19 memory, $20 shape, $21 line
WITH won AS (
    UPDATE jobs j
    SET state = i.state, reason = i.reason, message = i.message, since = clock_timestamp(),
        finished_at = CASE WHEN i.state NOT IN ('queued', 'scheduled') THEN clock_timestamp() END,
        run_at = CASE WHEN i.state = 'scheduled' THEN clock_timestamp() + i.delay_ms * interval '1 millisecond'
                      ELSE j.run_at END,
        started_at = CASE WHEN j.started_at IS NULL AND i.ran_ms IS NOT NULL
                          THEN clock_timestamp() - i.ran_ms * interval '1 millisecond' ELSE j.started_at END,
        assignment_state = NULL, exit_code = i.exit_code, tries = j.tries + i.tries, crashes = j.crashes + i.crashes,
        result = i.result, memory_bytes = COALESCE(i.memory_bytes, j.memory_bytes), shape = COALESCE(i.shape, j.shape),
        line = COALESCE(i.line, j.line),
        stop_reason = CASE WHEN i.state IN ('queued', 'scheduled') THEN NULL ELSE j.stop_reason END
    FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::int[], $8::bigint[], $9::int[],
                $10::int[], $11::bigint[], $12::jsonb[], $13::text[], $14::text[], $15::text[], $16::text[],
                $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[])
        AS i (id, fence, state, reason, message, exit_code, delay_ms, tries, crashes, ran_ms, result, a_state, outcome,
              a_reason, a_message, orders_epoch, orders_seq, memory_bytes, shape, line)
    WHERE j.id = i.id AND j.fence = i.fence AND j.state = ANY ($1::text[])
      AND (i.orders_epoch IS NULL OR (j.orders_epoch = i.orders_epoch AND j.orders_seq = i.orders_seq))
      AND (i.state NOT IN ('queued', 'scheduled') OR j.stop_reason IS NULL OR j.stop_reason NOT LIKE 'CancelledBy%')
    RETURNING j.id, j.fence, j.user_id, j.worker_id, j.state, j.reason, j.message, j.offered_at, j.started_at, j.exit_code,
        j.array_id, i.result, i.a_state, i.outcome, i.a_reason, i.a_message
), kept AS (
    INSERT INTO assignments (job_id, fence, user_id, worker_id, state, outcome, reason, message, exit_code, offered_at,
                             started_at, result)
    SELECT id, fence, user_id, worker_id, a_state, outcome, a_reason, a_message, exit_code, offered_at, started_at, result
    FROM won
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, state, reason, message, fence, worker_id FROM won
)
SELECT id, fence, worker_id, state, array_id FROM won
