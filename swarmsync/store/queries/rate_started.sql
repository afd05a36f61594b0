-- Dispatcher: note the starts of this batch that count against a rate. $1 job ids, $2 orders epoch
INSERT INTO rate_starts (key, job_id, fence)
SELECT rules::jsonb #>> '{rate,key}', id, fence FROM jobs
WHERE id = ANY ($1::bigint[]) AND state || '' = 'starting' AND orders_epoch = $2 AND rules::jsonb ? 'rate'
ON CONFLICT DO NOTHING
