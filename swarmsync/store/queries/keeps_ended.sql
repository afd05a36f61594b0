-- Logger: jobs in the order of their ends, with the specs that say how long output is kept; few do.
-- $1, $2 after this end and id, $3 ended before, $4 how many
SELECT j.id, j.finished_at, CASE WHEN s.document LIKE '%"keep":%' THEN s.document END AS document
FROM jobs j JOIN specs s ON s.id = j.spec_id
WHERE j.finished_at >= $1 AND (j.finished_at, j.id) > ($1, $2::bigint) AND j.finished_at < $3
ORDER BY j.finished_at, j.id LIMIT $4
