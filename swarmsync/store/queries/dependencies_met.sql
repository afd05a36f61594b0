-- Harvester: note whether the conditions on these jobs hold, where they have ended. A parent whose record was deleted
-- meets nothing but `finished`. $1 parents
UPDATE job_dependencies d
SET met = CASE d.condition WHEN 'finished' THEN true WHEN 'succeeded' THEN COALESCE(p.state = 'succeeded', false)
               ELSE COALESCE(p.state IN ('failed', 'timed_out'), false) END
FROM unnest($1::bigint[]) AS i (id) LEFT JOIN jobs p ON p.id = i.id
WHERE d.parent_id = i.id AND d.met IS NULL AND (p.id IS NULL OR p.finished_at IS NOT NULL)
RETURNING d.job_id, d.parent_id, d.condition, d.met, COALESCE(p.state, 'deleted') AS parent_state
