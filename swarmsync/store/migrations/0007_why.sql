-- Why a line waited, over time: one row for each change of its reason, so that a job's time in the queue can be told apart.

CREATE TABLE line_reasons (
    line   bigint NOT NULL,
    since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL                            -- empty: for nothing in particular
);
CREATE INDEX line_reasons_line ON line_reasons (line, since);
CREATE INDEX line_reasons_age ON line_reasons (since);
INSERT INTO line_reasons (line, since, reason) SELECT line, since, reason FROM waiting_lines;

-- What the worker of the live assignment measured before its container started, by its own clock.
ALTER TABLE jobs ADD COLUMN prepared jsonb;

GRANT SELECT, INSERT, UPDATE, DELETE ON line_reasons TO swarmsync_engine;
GRANT SELECT ON line_reasons TO swarmsync_member, swarmsync_operator;
