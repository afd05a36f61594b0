-- Lists beside millions of finished jobs: every filter has an index that ends in the order of the list, newest first, and
-- carries the owner behind it, so that what others have is passed over in the index (decision 0032). They hold finished
-- jobs only: one entry a job, and none for each state that it goes through.

CREATE INDEX jobs_ended_by_state ON jobs (state, id DESC, user_id) WHERE finished_at IS NOT NULL AND array_id IS NULL;
CREATE INDEX jobs_ended_by_worker ON jobs (worker_id, id DESC, user_id) WHERE finished_at IS NOT NULL AND array_id IS NULL;
-- What is in no queue of its own is most of it, and found without.
CREATE INDEX jobs_ended_by_queue ON jobs (queue, id DESC, user_id)
    WHERE finished_at IS NOT NULL AND array_id IS NULL AND queue <> 'default';
CREATE INDEX jobs_parked ON jobs (id DESC) WHERE state IN ('held', 'blocked', 'scheduled') AND array_id IS NULL;

-- Of all users, too: an admin's `@name` walked the table. In the order of code points, whatever the database's collation:
-- a name's beginning is then a range.
DROP INDEX jobs_by_name;
CREATE INDEX jobs_by_name ON jobs (name COLLATE "C", id DESC, user_id) WHERE name <> '' AND array_id IS NULL;

-- A label is a row: `labels @>` may not look into an index under row security, and what a GIN index finds has no order.
-- Members of arrays have their array's labels and are not listed by them.
CREATE TABLE job_labels (
    key     text NOT NULL,
    value   text NOT NULL,
    job_id  bigint NOT NULL,
    user_id bigint NOT NULL,
    PRIMARY KEY (key, value, job_id, user_id)
);
-- A value says what its key is: without this the planner takes them for independent, and pairs for rarer than they are.
CREATE STATISTICS job_labels_pairs (dependencies, mcv) ON key, value FROM job_labels;
DROP INDEX jobs_by_labels;

GRANT SELECT ON job_labels TO swarmsync_member, swarmsync_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON job_labels TO swarmsync_engine;

ALTER TABLE job_labels ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_labels FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_rows ON job_labels TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON job_labels TO swarmsync_member
    USING (user_id = current_user_id()) WITH CHECK (user_id = current_user_id());
CREATE POLICY operator_rows ON job_labels TO swarmsync_operator USING (true) WITH CHECK (true);
CREATE POLICY engine_rows ON job_labels TO swarmsync_engine USING (true) WITH CHECK (true);

INSERT INTO job_labels (key, value, job_id, user_id)
SELECT l.key, l.value, j.id, j.user_id FROM jobs j CROSS JOIN LATERAL jsonb_each_text(j.labels) AS l
WHERE j.array_id IS NULL AND j.labels <> '{}';

-- Runs as the owner: whoever writes a job's labels writes these, and nobody writes them otherwise.
CREATE FUNCTION keep_labels() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = swarmsync, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM job_labels l USING jsonb_each_text(OLD.labels) AS o
        WHERE l.key = o.key AND l.value = o.value AND l.job_id = OLD.id AND l.user_id = OLD.user_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO job_labels (key, value, job_id, user_id)
        SELECT n.key, n.value, NEW.id, NEW.user_id FROM jsonb_each_text(NEW.labels) AS n;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_labels FROM PUBLIC;
CREATE TRIGGER labels_of_new AFTER INSERT ON jobs FOR EACH ROW
    WHEN (NEW.array_id IS NULL AND NEW.labels <> '{}') EXECUTE FUNCTION keep_labels();
CREATE TRIGGER labels_that_change AFTER UPDATE OF labels ON jobs FOR EACH ROW
    WHEN (NEW.array_id IS NULL AND NEW.labels <> OLD.labels) EXECUTE FUNCTION keep_labels();
CREATE TRIGGER labels_of_gone AFTER DELETE ON jobs FOR EACH ROW
    WHEN (OLD.array_id IS NULL AND OLD.labels <> '{}') EXECUTE FUNCTION keep_labels();
