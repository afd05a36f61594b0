-- Dispatcher: which of these queued jobs may not start now, because their key, array or rate is used up; each counts what
-- is placed and what stands before it in this batch. Limits are numeric, for no stored number may stop all others' starts.
-- $1 job ids
WITH wanted AS (
    SELECT j.id, j.concurrency_key AS key, (r.rules #>> '{concurrency,limit}')::numeric AS key_limit, j.array_id,
           (r.rules ->> 'parallel')::numeric AS parallel, r.rules #>> '{rate,key}' AS rate_key,
           (r.rules #>> '{rate,starts}')::numeric AS starts, (r.rules #>> '{rate,interval_ms}')::bigint AS interval_ms, i.place
    FROM unnest($1::bigint[]) WITH ORDINALITY AS i (id, place)
    JOIN jobs j ON j.id = i.id AND j.state || '' = 'queued'
    CROSS JOIN LATERAL (SELECT j.rules::jsonb AS rules) r
)
SELECT id FROM (
    SELECT w.id,
        w.key IS NOT NULL AND (SELECT count(*) FROM jobs o WHERE o.concurrency_key = w.key
                               AND o.state IN ('starting', 'running', 'stopping') AND (o.array_size IS NULL OR o.array_id IS NOT NULL))
            + row_number() OVER (PARTITION BY w.key ORDER BY w.place) > w.key_limit AS key_over,
        w.parallel IS NOT NULL AND (SELECT count(*) FROM jobs o WHERE o.array_id = w.array_id AND o.rules IS NOT NULL
                                    AND o.state IN ('starting', 'running', 'stopping'))
            + row_number() OVER (PARTITION BY w.array_id ORDER BY w.place) > w.parallel AS array_over,
        w.rate_key IS NOT NULL AND (SELECT count(*) FROM rate_starts s WHERE s.key = w.rate_key
                                    AND s.at > clock_timestamp() - w.interval_ms * interval '1 millisecond')
            + row_number() OVER (PARTITION BY w.rate_key ORDER BY w.place) > w.starts AS rate_over
    FROM wanted w
) judged WHERE key_over OR array_over OR rate_over
