-- Dispatcher: where to send the stops of these jobs. $1 job ids
SELECT id, fence, worker_id, stop_reason, stop_kill FROM jobs WHERE id = ANY ($1::bigint[]) AND state || '' = 'stopping'
