-- Hibernator: may anything have expired, be late or have waited long enough (`expire`, `deadlines` and `schedule_waiting`
-- look closer), and in how many milliseconds is the next scheduled job or schedule due; null when none is.
SELECT
    EXISTS (SELECT FROM jobs WHERE state IN ('held', 'scheduled', 'blocked', 'queued') AND expires_at IS NOT NULL
            AND expires_at <= statement_timestamp())
    OR EXISTS (SELECT FROM jobs WHERE deadline_at <= statement_timestamp() AND finished_at IS NULL)
    OR EXISTS (SELECT FROM schedule_fires WHERE outcome = 'waiting') AS pressing,
    (extract(epoch FROM LEAST(
        (SELECT min(run_at) FROM jobs WHERE state = 'scheduled'),
        (SELECT min(next_fire_at) FROM schedules WHERE next_fire_at IS NOT NULL)
    ) - clock_timestamp()) * 1000)::bigint AS until_ms
