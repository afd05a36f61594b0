-- Hibernator: instants that waited run now. $1 lines, $2 jobs, $3 messages
UPDATE schedule_fires f SET outcome = 'late', job_id = n.job_id, message = n.message, at = clock_timestamp()
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS n (id, job_id, message) WHERE f.id = n.id AND f.outcome = 'waiting'
