-- Hibernator: schedules whose next fire has come, locked, oldest first. $1 now (null: the server's time), $2 limit
SELECT s.id, s.user_id, s.spec_id, s.document, s.next_fire_at, s.paused, COALESCE($1, statement_timestamp()) AS now,
    EXISTS (SELECT FROM jobs j WHERE j.schedule_id = s.id AND j.finished_at IS NULL) AS active,
    EXISTS (SELECT FROM schedule_fires f WHERE f.schedule_id = s.id AND f.outcome = 'waiting') AS waiting
FROM schedules s WHERE s.next_fire_at <= COALESCE($1::timestamptz, statement_timestamp())
ORDER BY s.next_fire_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED
