-- Hibernator: milliseconds until the next fire of any schedule; null when none is to come.
SELECT (extract(epoch FROM min(next_fire_at) - clock_timestamp()) * 1000)::bigint FROM schedules WHERE next_fire_at IS NOT NULL
