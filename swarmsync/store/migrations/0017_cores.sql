-- Several Cores on one database: who leads, since when, and until when that is sure; the engine's sessions of an earlier
-- term change nothing.

ALTER TABLE engine_epoch
    ADD COLUMN term      bigint NOT NULL DEFAULT 0,  -- raised by each take-over; it only grows
    ADD COLUMN core_id   text,
    ADD COLUMN led_since timestamptz,
    ADD COLUMN pulse_at  timestamptz;  -- of the leading Core; null: it has left, or is alone

CREATE TABLE cores (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    address    text NOT NULL,
    version    text NOT NULL,
    alone      boolean NOT NULL,  -- on its own PostgreSQL: it does not pulse here
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON cores TO swarmsync_engine;
GRANT SELECT ON cores TO swarmsync_member, swarmsync_operator;

-- A module's session says with which term it began. Volatile: each statement sees a take-over that was committed before.
CREATE FUNCTION check_term() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('swarmsync.term')::bigint <> (SELECT term FROM engine_epoch) THEN
        RAISE EXCEPTION 'another Core leads' USING ERRCODE = 'SS001';
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs', 'workers', 'worker_sessions', 'schedules', 'schedule_fires', 'output_chunks',
                                'output_tars', 'output_tar_chunks', 'line_reasons', 'rate_starts'] LOOP
        EXECUTE format('CREATE TRIGGER only_the_leader BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH STATEMENT'
                       ' WHEN (current_setting(''swarmsync.term'', true) <> '''') EXECUTE FUNCTION check_term()', name);
    END LOOP;
END $$;
CREATE TRIGGER only_the_leader BEFORE UPDATE OF epoch ON engine_epoch FOR EACH STATEMENT
    WHEN (current_setting('swarmsync.term', true) <> '') EXECUTE FUNCTION check_term();
