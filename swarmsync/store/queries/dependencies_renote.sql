-- Harvester: forget what was noted of jobs that are blocked although nothing is open: a release from a hold did not see
-- the note, and the note did not see the release. They are looked at anew. $1 jobs that have just become blocked
UPDATE job_dependencies d SET met = NULL
WHERE d.job_id IN (SELECT COALESCE(j.array_id, j.id) FROM jobs j WHERE j.id = ANY ($1::bigint[]) AND j.state = 'blocked')
  AND NOT EXISTS (SELECT FROM job_dependencies o WHERE o.job_id = d.job_id AND o.met IS DISTINCT FROM true)
RETURNING d.parent_id
