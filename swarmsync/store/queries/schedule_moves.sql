-- Hibernator: the next fires. They only grow; where there is none left the schedule is over.
-- $1 schedules, $2 last instants with an outcome, $3 next fires
UPDATE schedules s SET last_due_at = n.last_due_at, next_fire_at = n.next_fire_at
FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS n (id, last_due_at, next_fire_at)
WHERE s.id = n.id AND s.next_fire_at <= n.last_due_at
