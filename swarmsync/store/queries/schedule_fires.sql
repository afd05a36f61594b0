-- Hibernator, API: lines of the ledger; an instant that has its line keeps it, and is not in the answer. $1 now
-- per line: $2 schedules, $3 users, $4 instants, $5 outcomes, $6 reasons, $7 messages, $8 jobs
INSERT INTO schedule_fires (schedule_id, user_id, due_at, outcome, reason, message, job_id, at)
SELECT n.*, $1 FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::bigint[])
    AS n (schedule_id, user_id, due_at, outcome, reason, message, job_id)
ON CONFLICT (schedule_id, due_at) WHERE outcome <> 'triggered' DO NOTHING
RETURNING schedule_id, due_at
