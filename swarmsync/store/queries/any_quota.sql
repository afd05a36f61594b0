-- Dispatcher: whether anything but room can keep a plain job waiting.
SELECT EXISTS (SELECT FROM queues WHERE paused OR max_running IS NOT NULL OR max_running_per_user IS NOT NULL
                   OR max_cpus_milli IS NOT NULL OR max_memory_bytes IS NOT NULL)
    OR EXISTS (SELECT FROM user_limits)
