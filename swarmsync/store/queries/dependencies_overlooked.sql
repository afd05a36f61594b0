-- Harvester: parents that are over, or gone, although somebody waits for them. $1 jobs that wait (null: all), $2 limit
SELECT DISTINCT d.parent_id FROM job_dependencies d LEFT JOIN jobs p ON p.id = d.parent_id
WHERE d.met IS NULL AND ($1::bigint[] IS NULL OR d.job_id = ANY ($1)) AND (p.id IS NULL OR p.finished_at IS NOT NULL)
LIMIT $2
