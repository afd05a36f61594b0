-- Logger: bytes of outputs' tars; the owner is looked up, and those of unknown jobs are dropped.
-- $1 job ids, $2 fences, $3 streams, $4 starts, $5 data
INSERT INTO output_tar_chunks (job_id, user_id, fence, stream, start, data)
SELECT i.job_id, j.user_id, i.fence, i.stream, i.start, i.data
FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bytea[]) AS i (job_id, fence, stream, start, data)
JOIN jobs j ON j.id = i.job_id
ON CONFLICT DO NOTHING
