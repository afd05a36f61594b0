-- Dispatcher: an order goes out again in a new message; only while its assignment still waits to be accepted.
-- $1 job ids, $2 fences, $3 order message numbers, $4 orders epoch
UPDATE jobs j
SET orders_epoch = $4, orders_seq = i.seq
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS i (id, fence, seq)
WHERE j.id = i.id AND j.fence = i.fence AND j.state || '' IN ('starting', 'stopping') AND j.assignment_state = 'offered'
RETURNING j.id, j.fence, j.worker_id, j.user_id, j.orders_seq, j.name, j.spec_id, j.cpus_milli, j.memory_bytes,
    j.gpus, j.disk_bytes, j.grace_ms, j.array_index, j.array_size, j.image
