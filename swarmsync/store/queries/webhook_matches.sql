-- Logger: (webhook, event) pairs of a stretch of the feed. $1 and $2: behind this xid and seq; $3 and $4: up to these
SELECT w.id AS webhook_id, w.user_id, e.at, e.job_id, e.state, e.reason, e.message, e.fence, j.name, j.queue,
    u.username, k.name AS worker, j.array_id, j.array_index,
    CASE WHEN j.state = e.state THEN j.exit_code END AS exit_code
FROM job_events e
JOIN webhooks w ON w.user_id = e.user_id AND w.enabled AND e.xid >= w.since_xid AND e.state = ANY (w.states)
JOIN users u ON u.id = e.user_id AND NOT u.disabled
LEFT JOIN jobs j ON j.id = e.job_id
LEFT JOIN workers k ON k.id = e.worker_id
WHERE (e.xid, e.seq) > ($1::text::xid8, $2) AND (e.xid, e.seq) <= ($3::text::xid8, $4)
  AND (w.queue IS NULL OR j.queue = w.queue)
  AND (w.job_name IS NULL OR j.name = w.job_name
       OR (right(w.job_name, 1) = '*' AND starts_with(j.name, left(w.job_name, -1))))
  AND (w.labels = '{}' OR j.labels @> w.labels)
ORDER BY e.xid, e.seq, w.id
