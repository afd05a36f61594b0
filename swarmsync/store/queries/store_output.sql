-- Logger: output of jobs; the owner is looked up, and output of unknown jobs is dropped.
-- $1 job ids, $2 fences, $3 streams, $4 starts, $5 milliseconds since 1970, $6 data
INSERT INTO output_chunks (job_id, user_id, fence, stream, start, at, data)
SELECT i.job_id, j.user_id, i.fence, i.stream, i.start, to_timestamp(i.at_ms / 1000.0), i.data
FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bytea[])
    AS i (job_id, fence, stream, start, at_ms, data)
JOIN jobs j ON j.id = i.job_id
