-- Dispatcher: why shapes wait. $1 shapes, $2 reasons, $3 messages, $4 jobs
INSERT INTO waiting_shapes AS w (shape, reason, message, jobs)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[])
ON CONFLICT (shape) DO UPDATE SET message = EXCLUDED.message, jobs = EXCLUDED.jobs, reason = EXCLUDED.reason,
    since = CASE WHEN w.reason = EXCLUDED.reason THEN w.since ELSE clock_timestamp() END
