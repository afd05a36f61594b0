-- Scheduler and Harvester: the users who have limits.
SELECT user_id, max_running, max_cpus_milli, max_memory_bytes, max_gpus, weight FROM user_limits ORDER BY user_id
