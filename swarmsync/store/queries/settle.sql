-- Harvester: the verdict of assignments, exactly once each: the fence and the source states guard it; where the end
-- rests on an order message (`orders_*` not null), the order must not have been sent again since; and what was cancelled
-- since the verdict was made is not queued again (the end is told again, or missed at a pulse, and judged anew).
-- $1 source states; per row: $2 id, $3 fence, $4 kind of end, $5 ran ms (null: never started), $6 result; per kind of end,
-- of which a flood of jobs has few: $7 job state, $8 reason, $9 message, $10 exit code, $11 delay ms, $12 tries,
-- $13 crashes, $14 assignment state, $15 outcome, $16 assignment reason, $17 assignment message, $18 orders epoch,
-- $19 orders seq, and for a need that grew (else null): $20 memory, $21 shape, $22 line
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
    FROM (
        SELECT e.id, e.fence, e.ran_ms, e.result, k.*
        FROM unnest($2::bigint[], $3::bigint[], $4::int[], $5::bigint[], $6::jsonb[]) AS e (id, fence, kind, ran_ms, result)
        JOIN unnest($7::text[], $8::text[], $9::text[], $10::int[], $11::bigint[], $12::int[], $13::int[], $14::text[],
                    $15::text[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[],
                    $22::bigint[]) WITH ORDINALITY
            AS k (state, reason, message, exit_code, delay_ms, tries, crashes, a_state, outcome, a_reason, a_message,
                  orders_epoch, orders_seq, memory_bytes, shape, line, number) ON k.number = e.kind
    ) i
    WHERE j.id = i.id AND j.fence = i.fence AND j.state = ANY ($1::text[])
      AND (i.orders_epoch IS NULL OR (j.orders_epoch = i.orders_epoch AND j.orders_seq = i.orders_seq))
      AND (i.state NOT IN ('queued', 'scheduled') OR j.stop_reason IS NULL OR j.stop_reason NOT LIKE 'CancelledBy%')
    RETURNING j.id, j.fence, j.user_id, j.worker_id, j.state, j.reason, j.message, j.offered_at, j.started_at, j.exit_code,
        j.array_id, i.result, i.a_state, i.outcome, i.a_reason, i.a_message
), kept AS (
    INSERT INTO assignments (job_id, fence, user_id, worker_id, state, outcome, reason, message, exit_code, offered_at,
                             started_at, result)
    SELECT id, fence, user_id, worker_id, a_state, outcome, a_reason, a_message, exit_code, offered_at, started_at, result
    FROM won WHERE state <> 'succeeded'
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message, fence, worker_id)
    SELECT id, user_id, state, reason, message, fence, worker_id FROM won
)
SELECT id, fence, worker_id, state, array_id,
    EXISTS (SELECT FROM job_dependencies d WHERE d.parent_id = won.id AND d.met IS NULL) AS waited_for
FROM won
