-- Harvester: what was committed since (xid, seq) and touches the queue. Transactions still open hide everything younger,
-- so nothing is skipped (PostgreSQL manual, 9.27.8: pg_snapshot_xmin). Each row says up to where was looked (`upto`);
-- where nothing was committed there is one row with nothing else. What the transactions $4 queued is known and left out, by
-- a hashed set: an array of a parameter would be read anew for each event. $1 xid, $2 seq, $3 limit
SELECT s.upto::text AS upto, e.xid::text AS xid, e.seq, j.id, j.state, j.fence, j.shape, j.cpus_milli, j.memory_bytes,
    j.gpus, j.disk_bytes, j.priority, j.user_id, j.queue, j.line, j.rules, j.array_id, j.stop_reason, j.stop_kill,
    (j.array_size IS NOT NULL AND j.array_id IS NULL) AS is_array
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS upto) s
LEFT JOIN (
    SELECT xid, seq, job_id FROM job_events
    WHERE (xid, seq) > ($1::text::xid8, $2) AND xid < pg_snapshot_xmin(pg_current_snapshot())
      AND state IN ('queued', 'stopping', 'held', 'cancelled', 'expired', 'blocked')
      AND (state <> 'queued' OR xid NOT IN (SELECT unnest($4::text[])::xid8))
    ORDER BY xid, seq LIMIT $3
) e ON true
LEFT JOIN jobs j ON j.id = e.job_id
ORDER BY e.xid, e.seq
