-- Harvester: arrays whose last member has ended get their own verdict from the counts. $1 array ids, $2 source states
WITH closed AS (
    SELECT a.id, a.user_id, a.stop_reason, c.*
    FROM unnest($1::bigint[]) AS i (id)
    JOIN jobs a ON a.id = i.id AND a.finished_at IS NULL
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE m.state = 'succeeded') AS succeeded, count(*) FILTER (WHERE m.state = 'failed') AS failed,
               count(*) FILTER (WHERE m.state = 'timed_out') AS timed_out,
               count(*) FILTER (WHERE m.state = 'cancelled') AS cancelled,
               count(*) FILTER (WHERE m.state = 'expired') AS expired, count(*) AS total, max(m.exit_code) AS exit_code
        FROM jobs m WHERE m.array_id = a.id) c
    WHERE NOT EXISTS (SELECT FROM jobs m WHERE m.array_id = i.id AND m.finished_at IS NULL)
), judged AS (
    SELECT *, CASE WHEN failed > 0 THEN 'failed' WHEN timed_out > 0 THEN 'timed_out' WHEN succeeded = total THEN 'succeeded'
                   ELSE 'cancelled' END AS verdict FROM closed
), won AS (
    UPDATE jobs a
    SET state = c.verdict, finished_at = clock_timestamp(), since = clock_timestamp(), exit_code = c.exit_code,
        reason = CASE c.verdict WHEN 'succeeded' THEN 'Completed' WHEN 'cancelled' THEN
                 COALESCE(c.stop_reason, CASE WHEN c.cancelled > 0 THEN 'CancelledByUser' ELSE 'QueueTimeout' END)
                 WHEN 'timed_out' THEN 'Timeout' ELSE 'ExitCode' END,
        message = concat_ws(', ', format('%s of %s succeeded', c.succeeded, c.total),
                            CASE WHEN c.failed > 0 THEN c.failed || ' failed' END,
                            CASE WHEN c.timed_out > 0 THEN c.timed_out || ' timed out' END,
                            CASE WHEN c.cancelled > 0 THEN c.cancelled || ' cancelled' END,
                            CASE WHEN c.expired > 0 THEN c.expired || ' expired' END)
    FROM judged c WHERE a.id = c.id AND a.state = ANY ($2::text[])
    RETURNING a.id, a.user_id, a.state, a.reason, a.message
), told AS (
    INSERT INTO job_events (job_id, user_id, state, reason, message)
    SELECT id, user_id, state, reason, message FROM won
)
SELECT id FROM won
