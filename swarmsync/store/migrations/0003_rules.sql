-- What placement looks at beyond amounts, what a job waits for, and when it must be over.

ALTER TABLE jobs
    ADD COLUMN line bigint NOT NULL DEFAULT 0,      -- model/rules.py: line_of; waiting_shapes tells why a line waits
    ADD COLUMN rules text,                          -- model/rules.py: Rules as JSON; null for a plain job
    ADD COLUMN concurrency_key text,                -- rules.concurrency.key, for the guard of dispatch
    ADD COLUMN deadline_at timestamptz;
UPDATE jobs SET line = shape WHERE finished_at IS NULL;
ALTER TABLE waiting_shapes RENAME COLUMN shape TO line;
ALTER TABLE waiting_shapes RENAME TO waiting_lines;

-- A slot of a key is the row of the job that is placed: there is no counter that could be wrong.
CREATE INDEX jobs_by_key ON jobs (concurrency_key)
    WHERE concurrency_key IS NOT NULL AND state IN ('starting', 'running', 'stopping');
CREATE INDEX jobs_with_deadline ON jobs (deadline_at) WHERE deadline_at IS NOT NULL AND finished_at IS NULL;

CREATE TABLE job_dependencies (
    user_id   bigint NOT NULL,
    job_id    bigint NOT NULL,
    parent_id bigint NOT NULL,
    condition text NOT NULL CHECK (condition IN ('succeeded', 'finished', 'failed')),
    met       boolean,                              -- null while the parent has not ended
    PRIMARY KEY (job_id, parent_id)
);
CREATE INDEX job_dependencies_open ON job_dependencies (parent_id) WHERE met IS NULL;

-- Starts that count against a rate; rows older than the longest interval are swept.
CREATE TABLE rate_starts (
    key    text NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    job_id bigint NOT NULL,
    fence  bigint NOT NULL,
    PRIMARY KEY (job_id, fence)
);
CREATE INDEX rate_starts_by_key ON rate_starts (key, at);

GRANT SELECT, INSERT, UPDATE, DELETE ON job_dependencies, rate_starts TO swarmsync_engine;
GRANT SELECT, INSERT, DELETE ON job_dependencies TO swarmsync_member, swarmsync_operator;

ALTER TABLE job_dependencies ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_dependencies FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON job_dependencies TO swarmsync_member
    USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id());
CREATE POLICY operator_rows ON job_dependencies TO swarmsync_operator USING (true) WITH CHECK (true);
CREATE POLICY engine_rows ON job_dependencies TO swarmsync_engine USING (true) WITH CHECK (true);

-- Keys are shared between users, rows are not seen across them: this tells how many jobs of a key are not over.
CREATE FUNCTION jobs_of_key(wanted text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM jobs WHERE concurrency_key = wanted AND finished_at IS NULL $$;
REVOKE ALL ON FUNCTION jobs_of_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION jobs_of_key TO swarmsync_member, swarmsync_operator, swarmsync_engine;
CREATE INDEX jobs_of_keys ON jobs (concurrency_key) WHERE concurrency_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_placed_members ON jobs (array_id)
    WHERE array_id IS NOT NULL AND rules IS NOT NULL AND state IN ('starting', 'running', 'stopping');

-- A job that waits for others is news, too: what it waits for may be over already.
DROP INDEX job_events_wakes;
CREATE INDEX job_events_wakes ON job_events (xid, seq)
    WHERE state IN ('queued', 'stopping', 'held', 'cancelled', 'expired', 'blocked');
