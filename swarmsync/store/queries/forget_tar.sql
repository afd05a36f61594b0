-- Logger: an output arrived damaged and is sent anew. $1 job id, $2 fence, $3 stream
WITH told AS (
    DELETE FROM output_tars WHERE job_id = $1 AND fence = $2 AND stream = $3
)
DELETE FROM output_tar_chunks WHERE job_id = $1 AND fence = $2 AND stream = $3
