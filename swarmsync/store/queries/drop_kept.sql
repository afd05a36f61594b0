-- Logger: drop the output that was kept as long as its job wanted. $1 how many jobs at most
WITH due AS (
    SELECT job_id FROM output_keeps WHERE drop_at < clock_timestamp() ORDER BY drop_at LIMIT $1
), written AS (
    DELETE FROM output_chunks c USING due WHERE c.job_id = due.job_id
), tar_rows AS (
    DELETE FROM output_tars t USING due WHERE t.job_id = due.job_id
), tar_bytes AS (
    DELETE FROM output_tar_chunks t USING due WHERE t.job_id = due.job_id
)
DELETE FROM output_keeps k USING due WHERE k.job_id = due.job_id RETURNING k.job_id
