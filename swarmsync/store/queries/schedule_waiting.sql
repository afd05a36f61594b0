-- Hibernator: instants that waited for a job which has ended by now, locked. $1 now (null: the server's time), $2 limit
SELECT f.id AS fire_id, f.due_at, s.id, s.user_id, s.spec_id, s.document, COALESCE($1::timestamptz, statement_timestamp()) AS now
FROM schedule_fires f JOIN schedules s ON s.id = f.schedule_id
WHERE f.outcome = 'waiting' AND NOT EXISTS (SELECT FROM jobs j WHERE j.schedule_id = s.id AND j.finished_at IS NULL)
ORDER BY f.due_at LIMIT $2 FOR UPDATE OF s, f SKIP LOCKED
