-- Logger: drop outputs' tars that are too old. $1 days
WITH old AS (
    DELETE FROM output_tars WHERE stored_at < clock_timestamp() - $1::int * interval '1 day'
)
DELETE FROM output_tar_chunks WHERE stored_at < clock_timestamp() - $1::int * interval '1 day'
