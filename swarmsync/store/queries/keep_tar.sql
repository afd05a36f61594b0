-- Logger: an output is whole and was checked. Those of the job's earlier attempts are not needed any more.
-- $1 job id, $2 fence, $3 stream, $4 name, $5 size, $6 files, $7 bytes, $8 sha256
WITH kept AS (
    INSERT INTO output_tars (job_id, user_id, fence, stream, name, size, files, bytes, sha256)
    SELECT j.id, j.user_id, $2, $3, $4, $5, $6, $7, $8 FROM jobs j WHERE j.id = $1
    ON CONFLICT (job_id, fence, stream) DO NOTHING
), older AS (
    DELETE FROM output_tars WHERE job_id = $1 AND fence < $2
)
DELETE FROM output_tar_chunks WHERE job_id = $1 AND fence < $2
