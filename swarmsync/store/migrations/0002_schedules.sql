-- Schedules: the next fire is a row, and every due instant leaves exactly one.

CREATE TABLE schedules (
    id           bigint PRIMARY KEY,
    user_id      bigint NOT NULL,
    name         text NOT NULL,
    document     text NOT NULL,
    spec_id      bigint NOT NULL,
    paused       boolean NOT NULL DEFAULT false,
    next_fire_at timestamptz,
    last_due_at  timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (user_id, name),
    CONSTRAINT next_is_later CHECK (next_fire_at > last_due_at)
) WITH (fillfactor = 80);
CREATE INDEX schedules_due ON schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;

CREATE TABLE schedule_fires (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id bigint NOT NULL,
    user_id     bigint NOT NULL,
    due_at      timestamptz NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('fired', 'late', 'skipped', 'missed', 'waiting', 'triggered')),
    reason      text NOT NULL DEFAULT '',
    message     text NOT NULL DEFAULT '',
    job_id      bigint,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT run_has_job CHECK ((outcome IN ('fired', 'late', 'triggered')) = (job_id IS NOT NULL))
);
-- A manual run may fall on a due instant and must not take its place.
CREATE UNIQUE INDEX schedule_fires_once ON schedule_fires (schedule_id, due_at) WHERE outcome <> 'triggered';
CREATE INDEX schedule_fires_list ON schedule_fires (schedule_id, due_at DESC, id DESC);
CREATE UNIQUE INDEX schedule_fires_waiting ON schedule_fires (schedule_id) WHERE outcome = 'waiting';

CREATE INDEX jobs_by_schedule ON jobs (schedule_id, id DESC) WHERE schedule_id IS NOT NULL AND array_id IS NULL;
CREATE INDEX jobs_open_of_schedule ON jobs (schedule_id) WHERE schedule_id IS NOT NULL AND finished_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON schedules, schedule_fires TO swarmsync_engine, swarmsync_member, swarmsync_operator;

DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['schedules', 'schedule_fires'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant);
        EXECUTE format('CREATE POLICY own_rows ON %I TO swarmsync_member
                        USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id())', tenant);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO swarmsync_operator USING (true)
                        WITH CHECK (true)', tenant);
        EXECUTE format('CREATE POLICY engine_rows ON %I TO swarmsync_engine USING (true) WITH CHECK (true)', tenant);
    END LOOP;
END $$;
