-- Scheduler, at its start and on Resync. $1 limit
SELECT id, shape, cpus_milli, memory_bytes, gpus, disk_bytes, priority, user_id, queue, line, rules, array_id FROM jobs
WHERE state = 'queued' AND (array_size IS NULL OR array_id IS NOT NULL) ORDER BY id LIMIT $1
