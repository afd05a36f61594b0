-- Dispatcher: why lines wait. $1 lines, $2 reasons, $3 messages, $4 jobs
INSERT INTO waiting_lines AS w (line, reason, message, jobs)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[])
ON CONFLICT (line) DO UPDATE SET message = EXCLUDED.message, jobs = EXCLUDED.jobs, reason = EXCLUDED.reason,
    since = CASE WHEN w.reason = EXCLUDED.reason THEN w.since ELSE clock_timestamp() END
