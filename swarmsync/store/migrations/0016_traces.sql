-- Which trace a job belongs to: the traceparent of the request that submitted it. Kept until its spans were sent, where
-- traces are sent at all.

CREATE TABLE job_traces (
    job_id  bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    parent  text NOT NULL CHECK (length(parent) = 55),
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_traces_age ON job_traces (at);
GRANT SELECT, INSERT, DELETE ON job_traces TO swarmsync_member, swarmsync_operator;
ALTER TABLE job_traces ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_traces FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON job_traces TO swarmsync_member
    USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id());
CREATE POLICY operator_rows ON job_traces TO swarmsync_operator USING (true) WITH CHECK (true);
