-- The truth. Invariants of the states stand here a second time, as CHECKs and one trigger.
-- Roles: swarmsync_engine (the modules), swarmsync_api (no rights of its own), swarmsync_member / swarmsync_operator
-- (taken by the API per request; row-level security decides what they see). They are made by migrate.py before this.

CREATE TABLE users (
    id            bigint PRIMARY KEY,
    username      text NOT NULL UNIQUE CHECK (username ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    password_hash text,
    role          text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'operator', 'admin')),
    disabled      boolean NOT NULL DEFAULT false,
    session_epoch bigint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE tokens (
    id         bigint PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       text NOT NULL,
    sha256     bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    UNIQUE (user_id, name)
);

CREATE TABLE engine_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    bigint NOT NULL
);
INSERT INTO engine_epoch (epoch) VALUES (0);

CREATE SEQUENCE generator_numbers;

CREATE TABLE specs (
    id       bigint PRIMARY KEY,
    user_id  bigint NOT NULL,
    document text NOT NULL,
    sha256   bytea NOT NULL CHECK (length(sha256) = 32)
);

CREATE TABLE queues (
    name       text PRIMARY KEY CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$'),
    paused     boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO queues (name) VALUES ('default');

CREATE TABLE workers (
    id            bigint PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    cpus_milli    integer NOT NULL CHECK (cpus_milli >= 0),
    memory_bytes  bigint NOT NULL CHECK (memory_bytes >= 0),
    gpus          integer NOT NULL DEFAULT 0,
    disk_bytes    bigint NOT NULL DEFAULT 0,
    labels        jsonb NOT NULL DEFAULT '{}',
    runtime       text NOT NULL DEFAULT '',
    version       text NOT NULL DEFAULT '',
    liveness      text NOT NULL CHECK (liveness IN ('joining', 'ready', 'suspect', 'lost', 'offline')),
    eligibility   text NOT NULL DEFAULT 'open'
                  CHECK (eligibility IN ('open', 'cordoned', 'draining', 'drained', 'quarantined')),
    session       text NOT NULL DEFAULT '',
    joined_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_pulse_at timestamptz
);

CREATE TABLE worker_sessions (
    worker_id  bigint NOT NULL,
    session    text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    PRIMARY KEY (worker_id, session)
);

CREATE TABLE jobs (
    id               bigint PRIMARY KEY,
    user_id          bigint NOT NULL,
    queue            text NOT NULL,
    name             text NOT NULL,
    state            text NOT NULL CHECK (state IN ('held', 'scheduled', 'blocked', 'queued', 'starting', 'running',
                                                    'stopping', 'succeeded', 'failed', 'timed_out', 'cancelled', 'expired')),
    reason           text NOT NULL DEFAULT '',
    message          text NOT NULL DEFAULT '',
    since            timestamptz NOT NULL DEFAULT clock_timestamp(),
    priority         smallint NOT NULL CHECK (priority BETWEEN 0 AND 100),
    labels           jsonb NOT NULL DEFAULT '{}',
    spec_id          bigint NOT NULL,
    shape            bigint NOT NULL,
    cpus_milli       integer NOT NULL CHECK (cpus_milli > 0),
    memory_bytes     bigint NOT NULL CHECK (memory_bytes > 0),
    gpus             integer NOT NULL DEFAULT 0 CHECK (gpus >= 0),
    disk_bytes       bigint NOT NULL DEFAULT 0 CHECK (disk_bytes >= 0),
    grace_ms         integer NOT NULL DEFAULT 10000,
    submitted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_at           timestamptz,
    expires_at       timestamptz,
    started_at       timestamptz,
    finished_at      timestamptz,
    fence            bigint NOT NULL DEFAULT 0,
    worker_id        bigint,
    session          text,
    assignment_state text CHECK (assignment_state IN ('offered', 'accepted', 'pulling', 'creating', 'running', 'stopping',
                                                      'collecting')),
    offered_at       timestamptz,
    orders_epoch     bigint NOT NULL DEFAULT 0,
    orders_seq       bigint NOT NULL DEFAULT 0,
    exit_code        integer,
    tries            smallint NOT NULL DEFAULT 0,
    crashes          smallint NOT NULL DEFAULT 0,
    stop_reason      text,
    stop_kill        boolean NOT NULL DEFAULT false,
    rerun_of         bigint,
    schedule_id      bigint,
    array_id         bigint,
    array_index      integer,
    array_size       integer,
    result           jsonb,
    CONSTRAINT placed_has_worker CHECK ((state IN ('starting', 'running', 'stopping') AND (array_size IS NULL OR array_id IS NOT NULL))
        = (assignment_state IS NOT NULL) AND (assignment_state IS NULL OR worker_id IS NOT NULL)),
    CONSTRAINT final_has_end CHECK ((state IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'expired'))
        = (finished_at IS NOT NULL)),
    CONSTRAINT scheduled_has_time CHECK (state <> 'scheduled' OR run_at IS NOT NULL),
    CONSTRAINT member_has_index CHECK ((array_id IS NULL) = (array_index IS NULL) AND (array_id IS NULL OR array_size IS NOT NULL)),
    CONSTRAINT stopping_has_cause CHECK (state <> 'stopping' OR stop_reason IS NOT NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX jobs_by_user ON jobs (user_id, id DESC) WHERE array_id IS NULL;
CREATE INDEX jobs_queued ON jobs (id) WHERE state = 'queued';
CREATE INDEX jobs_placed ON jobs (worker_id) WHERE state IN ('starting', 'running', 'stopping');
CREATE INDEX jobs_scheduled ON jobs (run_at) WHERE state = 'scheduled';
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL AND state IN ('held', 'scheduled', 'blocked', 'queued');
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_members ON jobs (array_id, array_index) WHERE array_id IS NOT NULL;
CREATE INDEX jobs_open_members ON jobs (array_id) WHERE array_id IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_by_name ON jobs (user_id, name, id DESC) WHERE name <> '' AND array_id IS NULL;
CREATE INDEX jobs_by_labels ON jobs USING gin (labels jsonb_path_ops) WHERE labels <> '{}';

CREATE FUNCTION keep_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % is % and stays so (asked for %)', OLD.id, OLD.state, NEW.state
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER final_is_final BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.finished_at IS NOT NULL AND NEW.state <> OLD.state) EXECUTE FUNCTION keep_final();

CREATE TABLE assignments (
    job_id       bigint NOT NULL,
    fence        bigint NOT NULL,
    user_id      bigint NOT NULL,
    worker_id    bigint NOT NULL,
    state        text NOT NULL CHECK (state IN ('ended', 'lost')),
    outcome      text NOT NULL DEFAULT '',
    reason       text NOT NULL DEFAULT '',
    message      text NOT NULL DEFAULT '',
    exit_code    integer,
    offered_at   timestamptz,
    started_at   timestamptz,
    ended_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    superseded   integer NOT NULL DEFAULT 0,
    result       jsonb,
    PRIMARY KEY (job_id, fence)
);

CREATE TABLE job_events (
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq       bigint GENERATED BY DEFAULT AS IDENTITY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    job_id    bigint NOT NULL,
    user_id   bigint NOT NULL,
    state     text NOT NULL,
    reason    text NOT NULL DEFAULT '',
    message   text NOT NULL DEFAULT '',
    fence     bigint NOT NULL DEFAULT 0,
    worker_id bigint
) PARTITION BY RANGE (at);
CREATE INDEX job_events_feed ON job_events (xid, seq);
CREATE INDEX job_events_wakes ON job_events (xid, seq) WHERE state IN ('queued', 'stopping', 'held', 'cancelled', 'expired');
CREATE INDEX job_events_job ON job_events (job_id, seq);

CREATE TABLE waiting_shapes (
    shape   bigint PRIMARY KEY,
    reason  text NOT NULL,
    message text NOT NULL,
    jobs    integer NOT NULL DEFAULT 0,
    since   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE idempotency_keys (
    user_id    bigint NOT NULL,
    key        text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    body_hash  bytea NOT NULL,
    status     integer NOT NULL,
    response   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE output_chunks (
    job_id bigint NOT NULL,
    user_id bigint NOT NULL,
    fence  bigint NOT NULL,
    stream smallint NOT NULL CHECK (stream IN (1, 2)),
    start  bigint NOT NULL CHECK (start >= 0),
    at     timestamptz NOT NULL,
    data   bytea NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX output_chunks_job ON output_chunks (job_id, fence, stream, start);

CREATE TABLE log_records (
    id      bigint GENERATED BY DEFAULT AS IDENTITY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    source  text NOT NULL,
    level   text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    message text NOT NULL,
    job_id  bigint,
    fields  jsonb NOT NULL DEFAULT '{}'
) PARTITION BY RANGE (at);
CREATE INDEX log_records_id ON log_records (id);
CREATE INDEX log_records_source ON log_records (source, id);
CREATE INDEX log_records_job ON log_records (job_id, id) WHERE job_id IS NOT NULL;

CREATE TABLE job_events_rest PARTITION OF job_events DEFAULT;
CREATE TABLE output_chunks_rest PARTITION OF output_chunks DEFAULT;
CREATE TABLE log_records_rest PARTITION OF log_records DEFAULT;

CREATE TABLE audit_log (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id  bigint,
    action   text NOT NULL,
    subject  text NOT NULL DEFAULT '',
    detail   jsonb NOT NULL DEFAULT '{}'
);

-- Day partitions. The Logger makes and drops them through these two functions; it owns no table.

CREATE FUNCTION ensure_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = swarmsync, pg_temp AS $$
DECLARE parent text; day date; made integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['job_events', 'output_chunks', 'log_records'] LOOP
        FOR day IN SELECT generate_series((clock_timestamp() AT TIME ZONE 'UTC')::date,
                                          (clock_timestamp() AT TIME ZONE 'UTC')::date + days_ahead, '1 day')::date LOOP
            IF to_regclass(format('swarmsync.%I', parent || '_' || to_char(day, 'YYYYMMDD'))) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                               parent || '_' || to_char(day, 'YYYYMMDD'), parent,
                               to_char(day, 'YYYY-MM-DD') || ' 00:00:00Z', to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00Z');
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION drop_partitions(parent text, keep_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = swarmsync, pg_temp AS $$
DECLARE child text; dropped integer := 0;
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass(format('swarmsync.%I', parent)) AND c.relname ~ '_[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') + 1 < (clock_timestamp() AT TIME ZONE 'UTC')::date - keep_days
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

REVOKE ALL ON FUNCTION ensure_partitions, drop_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions, drop_partitions TO swarmsync_engine;

-- Who may touch what.

GRANT USAGE ON SCHEMA swarmsync TO swarmsync_engine, swarmsync_api, swarmsync_member, swarmsync_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA swarmsync TO swarmsync_engine;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA swarmsync TO swarmsync_engine, swarmsync_member, swarmsync_operator;
REVOKE UPDATE, DELETE ON audit_log FROM swarmsync_engine;

GRANT SELECT, INSERT, UPDATE, DELETE ON jobs, specs, idempotency_keys TO swarmsync_member, swarmsync_operator;
GRANT INSERT, SELECT ON job_events TO swarmsync_member, swarmsync_operator;
GRANT SELECT ON assignments, output_chunks, workers, queues, waiting_shapes, engine_epoch TO swarmsync_member, swarmsync_operator;
GRANT DELETE ON assignments, output_chunks TO swarmsync_member, swarmsync_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON log_records, workers, worker_sessions, queues TO swarmsync_operator;

-- Logging in happens before there is an identity: the API's own role may read what that needs, and nothing else.
GRANT SELECT ON users, tokens TO swarmsync_api;
GRANT SELECT (id, username) ON users TO swarmsync_member, swarmsync_operator;
GRANT UPDATE (password_hash) ON users TO swarmsync_api;
GRANT INSERT ON audit_log TO swarmsync_api;

CREATE FUNCTION current_user_id() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT NULLIF(current_setting('swarmsync.user_id', true), '')::bigint $$;

DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['jobs', 'specs', 'assignments', 'job_events', 'output_chunks', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant);
        EXECUTE format('CREATE POLICY own_rows ON %I TO swarmsync_member
                        USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id())', tenant);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO swarmsync_operator USING (true)
                        WITH CHECK (true)', tenant);
        EXECUTE format('CREATE POLICY engine_rows ON %I TO swarmsync_engine USING (true) WITH CHECK (true)', tenant);
    END LOOP;
END $$;
