-- Scheduler and Harvester: every queue with what limits it.
SELECT name, paused, max_running, max_running_per_user, max_cpus_milli, max_memory_bytes, placement, weight
FROM queues ORDER BY name
