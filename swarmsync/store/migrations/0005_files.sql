-- Secrets, which only the engine may read, and only sealed; and the files that jobs leave behind.

CREATE TABLE secrets (
    id         bigint PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       text NOT NULL CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$'),
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (user_id, name)
);

-- One tar per output of an assignment: bytes in chunks as they come, and a row once they are whole and were checked.
CREATE TABLE output_tars (
    job_id    bigint NOT NULL,
    user_id   bigint NOT NULL,
    fence     bigint NOT NULL,
    stream    smallint NOT NULL CHECK (stream BETWEEN 3 AND 18),
    name      text NOT NULL,
    size      bigint NOT NULL CHECK (size >= 0),
    files     integer NOT NULL CHECK (files >= 0),
    bytes     bigint NOT NULL CHECK (bytes >= 0),
    sha256    bytea NOT NULL CHECK (length(sha256) = 32),
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, fence, stream),
    UNIQUE (job_id, fence, name)
);
CREATE INDEX output_tars_age ON output_tars (stored_at);

CREATE TABLE output_tar_chunks (
    job_id    bigint NOT NULL,
    user_id   bigint NOT NULL,
    fence     bigint NOT NULL,
    stream    smallint NOT NULL CHECK (stream BETWEEN 3 AND 18),
    start     bigint NOT NULL CHECK (start >= 0),
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    data      bytea NOT NULL,
    PRIMARY KEY (job_id, fence, stream, start)
);
ALTER TABLE output_tar_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX output_tar_chunks_age ON output_tar_chunks (stored_at);

-- When the output of a job that has ended is dropped (`logs.keep`), where that is earlier than everybody's.
CREATE TABLE output_keeps (
    job_id  bigint PRIMARY KEY,
    drop_at timestamptz NOT NULL
);
CREATE INDEX output_keeps_due ON output_keeps (drop_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON secrets, output_tars, output_tar_chunks, output_keeps TO swarmsync_engine;
GRANT SELECT (id, user_id, name, created_at, updated_at), INSERT, UPDATE (sealed, updated_at), DELETE ON secrets
    TO swarmsync_member, swarmsync_operator;
GRANT SELECT, DELETE ON output_tars, output_tar_chunks TO swarmsync_member, swarmsync_operator;

DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['secrets', 'output_tars', 'output_tar_chunks'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant);
        EXECUTE format('CREATE POLICY own_rows ON %I TO swarmsync_member
                        USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id())', tenant);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO swarmsync_operator USING (true)
                        WITH CHECK (true)', tenant);
        EXECUTE format('CREATE POLICY engine_rows ON %I TO swarmsync_engine USING (true) WITH CHECK (true)', tenant);
    END LOOP;
END $$;
