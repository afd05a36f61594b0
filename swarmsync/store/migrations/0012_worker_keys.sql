-- Who may be a worker: tokens to join with, used once, and the key that each worker made for itself.

CREATE TABLE join_tokens (
    id          bigint PRIMARY KEY,
    sha256      bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    worker_name text,                       -- null: any name that no other key has
    replaces    boolean NOT NULL DEFAULT false, -- may take over a name from an older key
    created_by  bigint,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    used_by     text
);
CREATE TABLE worker_keys (
    public_key text PRIMARY KEY CHECK (public_key ~ '^U[A-Z2-7]{55}$'),
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);
CREATE UNIQUE INDEX worker_keys_name ON worker_keys (name) WHERE revoked_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON join_tokens, worker_keys TO swarmsync_engine;
GRANT SELECT, INSERT ON join_tokens TO swarmsync_operator;
GRANT SELECT ON worker_keys TO swarmsync_operator;
GRANT UPDATE (revoked_at) ON worker_keys TO swarmsync_operator;

-- Labels that people gave a worker; they win over those that it says itself.
ALTER TABLE workers ADD COLUMN set_labels jsonb NOT NULL DEFAULT '{}';
