-- Who may do what: users, tokens and keys as rows with owners, failures that outlive Redis, and the chained audit log.
-- swarmsync_admin (made by migrate.py) has the operator's rights and, beyond them, users and the audit log.

GRANT USAGE ON SCHEMA swarmsync TO swarmsync_admin;

-- An older token had no scopes and could do whatever its user could.
ALTER TABLE tokens ADD COLUMN scopes text[] NOT NULL DEFAULT '{*}' CHECK (cardinality(scopes) BETWEEN 1 AND 32);

CREATE TABLE keys (
    id         bigint PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       text NOT NULL CHECK (name ~ '^[a-zA-Z0-9][a-zA-Z0-9@_.-]{0,62}$'),
    key_id     text NOT NULL CHECK (key_id ~ '^[0-9a-f]{32}$'),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (user_id, name),
    UNIQUE (user_id, key_id)
);

-- Passwords guessed wrong in a row, by the SHA-256 of the name that was tried; from 20 on, so that few rows are made.
CREATE TABLE login_failures (
    name_sha256 bytea PRIMARY KEY CHECK (length(name_sha256) = 32),
    failures    integer NOT NULL CHECK (failures > 0),
    failed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX login_failures_age ON login_failures (failed_at);

-- Sessions that were ended before their time: an old copy of Redis does not bring them back.
CREATE TABLE ended_sessions (
    sha256  bytea PRIMARY KEY CHECK (length(sha256) = 32),
    ends_at timestamptz NOT NULL
);
CREATE INDEX ended_sessions_age ON ended_sessions (ends_at);

-- The audit log as a chain: each row's hash covers the row and the hash before it. The head is a row of its own, which
-- is also the lock that makes writers take turns.

CREATE TABLE audit_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL,
    hash     bytea NOT NULL CHECK (length(hash) = 32)
);
INSERT INTO audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- Each part is written as its length in bytes, a colon and itself, so that no two rows have one text.
CREATE FUNCTION audit_hash(before bytea, seq bigint, at timestamptz, user_id bigint, action text, subject text, detail jsonb)
RETURNS bytea LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT sha256(before || convert_to(string_agg(octet_length(part) || ':' || part, '' ORDER BY place), 'UTF8'))
    FROM unnest(ARRAY[seq::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                      COALESCE(user_id::text, ''), action, subject, detail::text]) WITH ORDINALITY AS parts (part, place)
$$;

ALTER TABLE audit_log ADD COLUMN seq bigint, ADD COLUMN hash bytea;

DO $$
DECLARE entry record; last_seq bigint := 0; last_hash bytea := decode(repeat('00', 32), 'hex');
BEGIN
    FOR entry IN SELECT * FROM audit_log ORDER BY id LOOP
        last_seq := last_seq + 1;
        last_hash := audit_hash(last_hash, last_seq, entry.at, entry.user_id, entry.action, entry.subject, entry.detail);
        UPDATE audit_log SET seq = last_seq, hash = last_hash WHERE id = entry.id;
    END LOOP;
    UPDATE audit_head SET seq = last_seq, hash = last_hash;
END $$;

ALTER TABLE audit_log ALTER COLUMN seq SET NOT NULL, ALTER COLUMN hash SET NOT NULL, ADD CONSTRAINT audit_log_seq UNIQUE (seq);

-- Runs as the owner: who adds a line can neither choose its place nor its time, nor touch the head.
CREATE FUNCTION chain_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = swarmsync, pg_temp AS $$
DECLARE before bytea;
BEGIN
    SELECT h.seq + 1, h.hash INTO NEW.seq, before FROM audit_head h FOR UPDATE;
    NEW.at := clock_timestamp();
    NEW.hash := audit_hash(before, NEW.seq, NEW.at, NEW.user_id, NEW.action, NEW.subject, NEW.detail);
    UPDATE audit_head SET seq = NEW.seq, hash = NEW.hash;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_is_chained BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION chain_audit();

CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log EXECUTE FUNCTION keep_audit();

REVOKE ALL ON FUNCTION chain_audit, keep_audit FROM PUBLIC;

-- Who may touch what.

GRANT SELECT, INSERT, UPDATE, DELETE ON keys TO swarmsync_engine;
GRANT SELECT ON keys TO swarmsync_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_failures TO swarmsync_api;
GRANT SELECT, INSERT, DELETE ON ended_sessions TO swarmsync_api;

GRANT SELECT (role, disabled, session_epoch, created_at), UPDATE (password_hash, session_epoch) ON users
    TO swarmsync_member, swarmsync_operator;
GRANT INSERT, DELETE, UPDATE (role, disabled) ON users TO swarmsync_admin;
GRANT SELECT (id, user_id, name, scopes, created_at, expires_at), INSERT, DELETE ON tokens
    TO swarmsync_member, swarmsync_operator;
GRANT SELECT, INSERT, DELETE ON keys TO swarmsync_member, swarmsync_operator;
GRANT SELECT ON audit_log, audit_head TO swarmsync_admin;

DO $$
DECLARE mine text;
BEGIN
    FOREACH mine IN ARRAY ARRAY['users', 'tokens', 'keys', 'audit_log'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', mine);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', mine);
        EXECUTE format('CREATE POLICY owner_rows ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', mine);
        EXECUTE format('CREATE POLICY engine_rows ON %I TO swarmsync_engine USING (true) WITH CHECK (true)', mine);
        EXECUTE format('CREATE POLICY login_rows ON %I TO swarmsync_api USING (true) WITH CHECK (true)', mine);
        EXECUTE format('CREATE POLICY admin_rows ON %I TO swarmsync_admin USING (true) WITH CHECK (true)', mine);
    END LOOP;
    -- Beside an admin, everybody has the own tokens and keys only, operators too.
    FOREACH mine IN ARRAY ARRAY['tokens', 'keys'] LOOP
        EXECUTE format('CREATE POLICY own_rows ON %I TO swarmsync_member, swarmsync_operator
                        USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id())', mine);
    END LOOP;
END $$;
CREATE POLICY own_row ON users TO swarmsync_member, swarmsync_operator
    USING (id = current_user_id()) WITH CHECK (id = current_user_id());
CREATE POLICY operator_reads ON users FOR SELECT TO swarmsync_operator USING (true);
