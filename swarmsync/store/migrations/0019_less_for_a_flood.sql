-- What each job of a flood cost and nobody needed (decision 0055).

-- The feed of changes is read on from where it was read to, so the whole feed's own index serves it as well.
DROP INDEX job_events_wakes;

-- Most jobs succeed: a list of those finds its page among the newest jobs. What is rarer keeps its index.
DROP INDEX jobs_ended_by_state;
CREATE INDEX jobs_ended_by_state ON jobs (state, id DESC, user_id)
    WHERE finished_at IS NOT NULL AND array_id IS NULL AND state <> 'succeeded';
