-- Logger: when the output of these jobs is dropped. $1 job ids, $2 times
INSERT INTO output_keeps (job_id, drop_at) SELECT * FROM unnest($1::bigint[], $2::timestamptz[])
ON CONFLICT DO NOTHING
