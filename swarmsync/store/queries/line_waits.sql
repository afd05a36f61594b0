-- Dispatcher: why lines wait, and a row of history where that is another reason than before.
-- $1 lines, $2 reasons, $3 messages, $4 jobs
WITH said AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[]) AS s (line, reason, message, jobs)
), changed AS (
    INSERT INTO line_reasons (line, reason)
    SELECT s.line, s.reason FROM said s LEFT JOIN waiting_lines w ON w.line = s.line
    WHERE w.reason IS DISTINCT FROM s.reason
)
INSERT INTO waiting_lines AS w (line, reason, message, jobs)
SELECT line, reason, message, jobs FROM said
ON CONFLICT (line) DO UPDATE SET message = EXCLUDED.message, jobs = EXCLUDED.jobs, reason = EXCLUDED.reason,
    since = CASE WHEN w.reason = EXCLUDED.reason THEN w.since ELSE clock_timestamp() END
