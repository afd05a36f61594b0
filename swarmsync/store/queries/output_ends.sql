-- Logger: up to where the streams of these assignments are stored, tars of outputs included. $1 job ids, $2 fences
SELECT job_id, fence, stream, max(start + length(data)) AS stored FROM output_chunks
WHERE job_id = ANY ($1::bigint[]) AND (job_id, fence) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
GROUP BY job_id, fence, stream
UNION ALL
SELECT job_id, fence, stream, max(start + length(data)) AS stored FROM output_tar_chunks
WHERE job_id = ANY ($1::bigint[]) AND (job_id, fence) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
GROUP BY job_id, fence, stream
