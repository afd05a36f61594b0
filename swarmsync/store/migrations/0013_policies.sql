-- What an admin lets the jobs of a user or of a queue loosen; model/policy.py: Allowance as JSON. The API looks them up as
-- itself before a job is stored: nobody's role shows who has one.

CREATE TABLE policies (
    scope      text NOT NULL CHECK (scope IN ('user', 'queue')),
    name       text NOT NULL,
    allows     jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scope, name)
);
GRANT SELECT ON policies TO swarmsync_api, swarmsync_engine, swarmsync_operator, swarmsync_admin;
GRANT INSERT, UPDATE, DELETE ON policies TO swarmsync_admin;
