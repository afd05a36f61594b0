-- Harvester: a worker's session begins; the name is the identity. What people said of it (cordon, drain) survives.
-- $1 id if new, $2 name, $3 cpus, $4 memory, $5 gpus, $6 disk, $7 labels, $8 runtime, $9 version, $10 session
WITH known AS (
    INSERT INTO workers AS w (id, name, cpus_milli, memory_bytes, gpus, disk_bytes, labels, runtime, version, liveness, session,
                              last_pulse_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'ready', $10, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET cpus_milli = $3, memory_bytes = $4, gpus = $5, disk_bytes = $6, labels = $7,
        runtime = $8, version = $9, liveness = 'ready', session = $10, joined_at = clock_timestamp(),
        last_pulse_at = clock_timestamp()
    RETURNING w.id, w.eligibility, w.labels || w.set_labels AS labels
), ended AS (
    UPDATE worker_sessions s SET ended_at = clock_timestamp() FROM known WHERE s.worker_id = known.id AND s.ended_at IS NULL
), begun AS (
    INSERT INTO worker_sessions (worker_id, session) SELECT id, $10 FROM known
    ON CONFLICT (worker_id, session) DO UPDATE SET ended_at = NULL
)
SELECT id, eligibility, labels FROM known
