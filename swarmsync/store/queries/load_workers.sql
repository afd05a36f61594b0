-- Scheduler and Harvester, at their start.
SELECT id, name, cpus_milli, memory_bytes, gpus, disk_bytes, labels || set_labels AS labels, liveness, eligibility, session,
    runtime, images
FROM workers ORDER BY id
