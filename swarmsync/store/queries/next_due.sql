-- Hibernator: milliseconds until the next scheduled job is due; null when none is.
SELECT (extract(epoch FROM min(run_at) - clock_timestamp()) * 1000)::bigint FROM jobs WHERE state = 'scheduled'
