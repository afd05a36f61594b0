-- Logger: deliveries to send now. $1 most of one webhook, $2 most in all, $3 those on their way already
SELECT d.id, d.webhook_id, d.body, d.attempts, d.age_s, w.url, w.sealed
FROM webhooks w CROSS JOIN LATERAL (
    SELECT x.id, x.webhook_id, x.body, x.attempts, x.due_at,
        extract(epoch FROM clock_timestamp() - x.begun_at)::float8 AS age_s
    FROM webhook_deliveries x
    WHERE x.webhook_id = w.id AND x.state = 'waiting' AND x.due_at <= clock_timestamp()
      AND x.id <> ALL ($3::bigint[])
    ORDER BY x.due_at LIMIT $1
) d
WHERE w.enabled ORDER BY d.due_at LIMIT $2
