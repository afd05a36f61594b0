-- Logger: what attempts came to. $1 delivery ids, $2 states, $3 seconds until the next attempt, $4 HTTP statuses, $5 errors
UPDATE webhook_deliveries d
SET state = s.state, attempts = d.attempts + 1, due_at = clock_timestamp() + make_interval(secs => s.again_s),
    status = s.status, error = s.error, ended_at = CASE WHEN s.state = 'waiting' THEN NULL ELSE clock_timestamp() END
FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::int[], $5::text[]) AS s (id, state, again_s, status, error)
WHERE d.id = s.id
