-- Queues and users have limits. What is used up is counted from the rows of placed jobs: no counter could be wrong.

ALTER TABLE queues
    ADD COLUMN max_running integer CHECK (max_running >= 1),
    ADD COLUMN max_running_per_user integer CHECK (max_running_per_user >= 1),
    ADD COLUMN max_waiting integer CHECK (max_waiting >= 1),
    ADD COLUMN max_cpus_milli bigint CHECK (max_cpus_milli >= 1),
    ADD COLUMN max_memory_bytes bigint CHECK (max_memory_bytes >= 1),
    ADD COLUMN placement text NOT NULL DEFAULT 'pack' CHECK (placement IN ('pack', 'spread')),
    ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT clock_timestamp();

CREATE TABLE user_limits (
    user_id          bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    max_running      integer CHECK (max_running >= 1),
    max_cpus_milli   bigint CHECK (max_cpus_milli >= 1),
    max_memory_bytes bigint CHECK (max_memory_bytes >= 1),
    max_gpus         integer CHECK (max_gpus >= 0),
    weight           integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT ON user_limits TO swarmsync_engine, swarmsync_member;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_limits TO swarmsync_operator;
ALTER TABLE user_limits ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_limits FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON user_limits TO swarmsync_member USING (user_id = current_user_id());
CREATE POLICY operator_rows ON user_limits TO swarmsync_operator USING (true) WITH CHECK (true);
CREATE POLICY engine_rows ON user_limits TO swarmsync_engine USING (true);

CREATE INDEX jobs_waiting_by_queue ON jobs (queue)
    WHERE state IN ('held', 'scheduled', 'blocked', 'queued') AND (array_size IS NULL OR array_id IS NOT NULL);
CREATE INDEX rate_starts_age ON rate_starts (at);

-- Rows are not seen across users, limits count them all: these tell numbers and nothing else. An array's own row has no
-- container and takes no slot.

CREATE OR REPLACE FUNCTION jobs_of_key(wanted text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM jobs WHERE concurrency_key = wanted AND finished_at IS NULL
       AND (array_size IS NULL OR array_id IS NOT NULL) $$;

CREATE FUNCTION slots_of_key(wanted text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM jobs WHERE concurrency_key = wanted AND state IN ('starting', 'running', 'stopping')
       AND (array_size IS NULL OR array_id IS NOT NULL) $$;

CREATE FUNCTION stops_of_key(wanted text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM jobs WHERE concurrency_key = wanted AND state = 'stopping'
       AND (array_size IS NULL OR array_id IS NOT NULL) $$;

CREATE FUNCTION slots_of_queue(wanted text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM jobs WHERE queue = wanted AND state IN ('starting', 'running', 'stopping')
       AND assignment_state IS NOT NULL $$;

CREATE FUNCTION waiting_in_queue(wanted text) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM jobs WHERE queue = wanted AND state IN ('held', 'scheduled', 'blocked', 'queued')
       AND (array_size IS NULL OR array_id IS NOT NULL) $$;

CREATE FUNCTION schedules_of_queue(wanted text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = swarmsync, pg_temp AS
    $$ SELECT count(*) FROM schedules WHERE COALESCE(document::jsonb #>> '{job,queue}', 'default') = wanted $$;

-- They run as the owner of the tables, whom FORCE ROW LEVEL SECURITY holds too where it is no superuser.
CREATE POLICY owner_counts ON jobs FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY owner_counts ON schedules FOR SELECT TO CURRENT_USER USING (true);

REVOKE ALL ON FUNCTION slots_of_key, stops_of_key, slots_of_queue, waiting_in_queue, schedules_of_queue FROM PUBLIC;
GRANT EXECUTE ON FUNCTION slots_of_key, stops_of_key, slots_of_queue, waiting_in_queue, schedules_of_queue
    TO swarmsync_member, swarmsync_operator, swarmsync_engine;
