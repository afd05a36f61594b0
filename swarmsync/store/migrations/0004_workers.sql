-- Drains with an end, quarantine, what images a worker has; the image that a job's attempts share; logins of registries.

ALTER TABLE workers
    ADD COLUMN drain_until timestamptz,             -- what still runs there by then is stopped and queued again
    ADD COLUMN note text NOT NULL DEFAULT '',       -- why it is quarantined
    ADD COLUMN probe_image text NOT NULL DEFAULT '', -- what the probe of a quarantined worker starts
    ADD COLUMN images text[] NOT NULL DEFAULT '{}';

ALTER TABLE jobs ADD COLUMN image text;             -- what the first attempt's tag meant: NAME@DIGEST, for all later ones

CREATE TABLE registry_logins (
    registry   text PRIMARY KEY CHECK (registry ~ '^[a-z0-9.-]{1,253}(:[0-9]{1,5})?$'),
    username   text NOT NULL CHECK (length(username) BETWEEN 1 AND 255),
    sealed     bytea NOT NULL,                      -- the password; purpose registry:REGISTRY:USERNAME
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON registry_logins TO swarmsync_engine;
GRANT SELECT (registry, username, changed_at) ON registry_logins TO swarmsync_operator;
GRANT INSERT, UPDATE, DELETE ON registry_logins TO swarmsync_operator;
