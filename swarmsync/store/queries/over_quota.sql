-- Dispatcher: which of these queued jobs may not start now, because their queue is paused, or it or their user has used up
-- what it may take; each counts what is placed and what stands before it in this batch. $1 job ids
WITH wanted AS MATERIALIZED (
    SELECT j.id, j.queue, j.user_id, j.cpus_milli, j.memory_bytes, j.gpus, i.place, COALESCE(q.paused, false) AS paused,
           q.max_running AS queue_jobs, q.max_running_per_user AS share_jobs, q.max_cpus_milli AS queue_cpus,
           q.max_memory_bytes AS queue_memory, u.max_running AS user_jobs, u.max_cpus_milli AS user_cpus,
           u.max_memory_bytes AS user_memory, u.max_gpus AS user_gpus
    FROM unnest($1::bigint[]) WITH ORDINALITY AS i (id, place)
    JOIN jobs j ON j.id = i.id AND j.state || '' = 'queued'
    LEFT JOIN queues q ON q.name = j.queue
    LEFT JOIN user_limits u ON u.user_id = j.user_id
), placed AS MATERIALIZED (
    SELECT queue, user_id, count(*) AS jobs, sum(cpus_milli) AS cpus, sum(memory_bytes) AS memory, sum(gpus) AS gpus
    FROM jobs WHERE state IN ('starting', 'running', 'stopping') AND assignment_state IS NOT NULL
    GROUP BY queue, user_id
), of_queue AS MATERIALIZED (
    SELECT queue, sum(jobs) AS jobs, sum(cpus) AS cpus, sum(memory) AS memory FROM placed GROUP BY queue
), of_user AS MATERIALIZED (
    SELECT user_id, sum(jobs) AS jobs, sum(cpus) AS cpus, sum(memory) AS memory, sum(gpus) AS gpus FROM placed GROUP BY user_id
)
SELECT id FROM (
    SELECT w.id, w.paused
        OR COALESCE(q.jobs, 0) + row_number() OVER in_queue > w.queue_jobs
        OR COALESCE(s.jobs, 0) + row_number() OVER in_share > w.share_jobs
        OR COALESCE(q.cpus, 0) + sum(w.cpus_milli) OVER in_queue > w.queue_cpus
        OR COALESCE(q.memory, 0) + sum(w.memory_bytes) OVER in_queue > w.queue_memory
        OR COALESCE(u.jobs, 0) + row_number() OVER of_one > w.user_jobs
        OR COALESCE(u.cpus, 0) + sum(w.cpus_milli) OVER of_one > w.user_cpus
        OR COALESCE(u.memory, 0) + sum(w.memory_bytes) OVER of_one > w.user_memory
        OR COALESCE(u.gpus, 0) + sum(w.gpus) OVER of_one > w.user_gpus AS is_over
    FROM wanted w
    LEFT JOIN of_queue q ON q.queue = w.queue
    LEFT JOIN of_user u ON u.user_id = w.user_id
    LEFT JOIN placed s ON s.queue = w.queue AND s.user_id = w.user_id
    WINDOW in_queue AS (PARTITION BY w.queue ORDER BY w.place), in_share AS (PARTITION BY w.queue, w.user_id ORDER BY w.place),
        of_one AS (PARTITION BY w.user_id ORDER BY w.place)
) judged WHERE is_over
