-- Webhooks: addresses that are told of changes of their owner's jobs, and every telling with what came of it (decision 0033).

CREATE TABLE webhooks (
    id              bigint PRIMARY KEY,
    user_id         bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    url             text NOT NULL CHECK (length(url) BETWEEN 8 AND 2048),
    states          text[] NOT NULL CHECK (cardinality(states) > 0),
    queue           text,                          -- null: any
    job_name        text,                          -- null: any; may end in *
    labels          jsonb NOT NULL DEFAULT '{}',   -- all of them must be the job's
    sealed          bytea NOT NULL,                -- the signing key, for `Sealer`
    enabled         boolean NOT NULL DEFAULT true,
    disabled_reason text NOT NULL DEFAULT '',
    failing_since   timestamptz,                   -- the first failure since something was delivered
    since_xid       xid8 NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot()), -- earlier events are not its own
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhooks_of_user ON webhooks (user_id, id DESC);

CREATE TABLE webhook_deliveries (
    id          bigint PRIMARY KEY,
    webhook_id  bigint NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    user_id     bigint NOT NULL,
    type        text NOT NULL,
    body        text NOT NULL,
    state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    begun_at    timestamptz NOT NULL DEFAULT clock_timestamp(), -- what the limit of retries counts from
    status      integer,                        -- HTTP's, of the last attempt that got an answer
    error       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (webhook_id, id DESC);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);

-- Up to where in the feed of job_events deliveries were made; moves in the transaction that makes them.
CREATE TABLE webhook_cursor (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    xid xid8 NOT NULL DEFAULT '0',
    seq bigint NOT NULL DEFAULT 0
);
INSERT INTO webhook_cursor DEFAULT VALUES;

GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks, webhook_deliveries TO swarmsync_engine;
GRANT SELECT, UPDATE ON webhook_cursor TO swarmsync_engine;
GRANT SELECT (id, user_id, url, states, queue, job_name, labels, enabled, disabled_reason, failing_since, since_xid,
        created_at, updated_at),
    INSERT, DELETE,
    UPDATE (url, states, queue, job_name, labels, sealed, enabled, disabled_reason, failing_since, since_xid, updated_at)
    ON webhooks TO swarmsync_member, swarmsync_operator;
GRANT SELECT, INSERT, UPDATE (state, attempts, due_at, begun_at, error, ended_at) ON webhook_deliveries
    TO swarmsync_member, swarmsync_operator;

DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['webhooks', 'webhook_deliveries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant);
        EXECUTE format('CREATE POLICY owner_rows ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', tenant);
        EXECUTE format('CREATE POLICY own_rows ON %I TO swarmsync_member
                        USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id())', tenant);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO swarmsync_operator USING (true)
                        WITH CHECK (true)', tenant);
        EXECUTE format('CREATE POLICY engine_rows ON %I TO swarmsync_engine USING (true) WITH CHECK (true)', tenant);
    END LOOP;
END $$;
