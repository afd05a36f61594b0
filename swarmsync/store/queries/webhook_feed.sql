-- Logger: where the next events of the feed end, up to the oldest transaction still open. $1 xid, $2 seq, $3 limit
SELECT xid::text AS xid, seq, events FROM (
    SELECT n.xid, n.seq, count(*) OVER () AS events FROM (
        SELECT xid, seq FROM job_events
        WHERE (xid, seq) > ($1::text::xid8, $2) AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, seq LIMIT $3
    ) n
) e ORDER BY e.xid DESC, e.seq DESC LIMIT 1
