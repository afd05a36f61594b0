-- Harvester: what a verdict must know of these assignments; rows whose fence has moved on are not there.
-- $1 job ids, $2 fences
SELECT j.id, j.fence, j.tries, j.crashes, j.stop_reason, j.cpus_milli, j.memory_bytes, j.gpus, j.disk_bytes, j.user_id, j.queue,
    j.rules, j.array_id, s.document
FROM unnest($1::bigint[], $2::bigint[]) AS i (id, fence)
JOIN jobs j ON j.id = i.id AND j.fence = i.fence AND j.state || '' IN ('starting', 'running', 'stopping')
JOIN specs s ON s.id = j.spec_id
