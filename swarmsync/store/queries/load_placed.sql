-- Scheduler and Harvester, at their start: the assignments that are not over.
SELECT id, fence, worker_id, state, assignment_state, cpus_milli, memory_bytes, gpus, disk_bytes, grace_ms, orders_epoch,
    orders_seq, stop_reason, stop_kill, user_id, queue, line, rules, array_id,
    (extract(epoch FROM clock_timestamp() - coalesce(started_at, since)) * 1000)::bigint AS age_ms
FROM jobs WHERE state IN ('starting', 'running', 'stopping') AND assignment_state IS NOT NULL ORDER BY id
