"""Policies for another owner of the tables; nothing else of a script is touched."""

from engine.backup.restoring import of_owner

SCRIPT = """
CREATE INDEX a ON swarmsync.jobs USING btree (swarmsync_owner);
CREATE POLICY owner_rows ON swarmsync.users TO swarmsync_owner USING (true) WITH CHECK (true);
CREATE POLICY owner_reads ON swarmsync.specs FOR SELECT TO swarmsync_owner USING (true);
CREATE POLICY own ON swarmsync.users AS RESTRICTIVE FOR SELECT TO swarmsync_member, swarmsync_owner USING ((name = 'TO swarmsync_owner'));
ALTER TABLE swarmsync.jobs ENABLE ROW LEVEL SECURITY;
"""


def test_only_the_roles_of_policies_change():
    changed = of_owner(SCRIPT, "swarmsync_owner", '"other one"')
    assert changed == (
        SCRIPT.replace("users TO swarmsync_owner USING", 'users TO "other one" USING')
        .replace("FOR SELECT TO swarmsync_owner USING (true)", 'FOR SELECT TO "other one" USING (true)')
        .replace("swarmsync_member, swarmsync_owner USING", 'swarmsync_member, "other one" USING')
    )
    assert changed.count("swarmsync_owner") == 2
