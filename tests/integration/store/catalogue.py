"""What PostgreSQL's own catalogue says against the rules of isolation; each question returns what is wrong."""

import asyncpg

#: Rows that belong to nobody and that every user may read.
SHARED = frozenset({"queues", "workers", "waiting_lines", "line_reasons", "engine_epoch", "cores"})
#: Unique indexes that span users, and why that tells nobody anything.
ACROSS_USERS = {
    "tokens_sha256_key": "256 random bits",
    "audit_log_seq": "the place in the chain, chosen by a trigger",
    "output_tars_job_id_fence_name_key": "a job belongs to one user",
    "schedule_fires_once": "a schedule belongs to one user",
    "schedule_fires_waiting": "a schedule belongs to one user",
}
SERVICES = ("swarmsync_api", "swarmsync_engine", "swarmsync_member", "swarmsync_operator", "swarmsync_admin")

_UNGUARDED = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attname = CASE c.relname WHEN 'users' THEN 'id' ELSE 'user_id' END
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
"""
_OPEN_PARTITIONS = """
SELECT c.relname || ' to ' || r.role FROM pg_class c CROSS JOIN unnest($1::text[]) AS r (role)
WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relispartition AND c.relkind = 'r'
    AND r.role <> 'swarmsync_engine' AND has_table_privilege(r.role, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
"""
_NULLABLE = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'user_id'
    AND NOT a.attnotnull AND c.relname <> 'audit_log'
"""
_READABLE = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND has_any_column_privilege('swarmsync_member', c.oid, 'SELECT') AND NOT c.relrowsecurity
    AND NOT c.relname = ANY ($1::text[]) AND c.relkind <> 'v'
"""
_VIEWS = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'swarmsync'::regnamespace
    AND (c.relkind = 'm' OR (c.relkind = 'v' AND NOT COALESCE(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)))
"""
_UNIQUE = """
SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
WHERE c.relnamespace = 'swarmsync'::regnamespace AND i.indisunique AND NOT i.indisprimary
    AND NOT a.attnum = ANY (i.indkey) AND NOT c.relispartition AND NOT x.relname = ANY ($1::text[])
"""
_ROLES = """
SELECT rolname FROM pg_roles
WHERE rolname = ANY ($1::text[])
    AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
"""
_OWNED = """
SELECT r.rolname || ' owns ' || c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
WHERE r.rolname = ANY ($1::text[])
UNION ALL
SELECT r.rolname || ' owns ' || p.proname FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
WHERE r.rolname = ANY ($1::text[])
UNION ALL
SELECT r.rolname || ' owns the schema' FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
WHERE r.rolname = ANY ($1::text[]) AND n.nspname = 'swarmsync'
"""
#: (member, role): who may become or inherits whom.
_MEMBERSHIPS = """
SELECT m.rolname || ' in ' || g.rolname
FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
WHERE m.rolname = ANY ($1::text[])
"""
_DEFINERS = """
SELECT p.proname FROM pg_proc p
WHERE p.pronamespace = 'swarmsync'::regnamespace AND p.prosecdef
    AND (p.proconfig IS NULL OR NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search_path=%')
         OR has_function_privilege('public', p.oid, 'EXECUTE'))
"""
#: What the owner of the tables may not read is missing in a backup, where it is no superuser.
_UNREAD = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relforcerowsecurity AND NOT EXISTS (
    SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*') AND c.relowner = ANY (p.polroles)
        AND pg_get_expr(p.polqual, p.polrelid) = 'true')
"""
_MEMBERSHIPS_ALLOWED = {
    "swarmsync_api in swarmsync_member",
    "swarmsync_api in swarmsync_operator",
    "swarmsync_api in swarmsync_admin",
    "swarmsync_admin in swarmsync_operator",
}


async def problems(connection: asyncpg.Connection) -> list[str]:
    """Return one line for each rule that something breaks."""

    async def names(query: str, *values: object) -> list[str]:
        return sorted({row[0] for row in await connection.fetch(query, *values)})

    found = [f"{name}: rows have users and no forced row security" for name in await names(_UNGUARDED)]
    found += [f"{name}: a partition is open beside its table" for name in await names(_OPEN_PARTITIONS, list(SERVICES))]
    found += [f"{name}: user_id may be null" for name in await names(_NULLABLE)]
    found += [f"{name}: every user may read it" for name in await names(_READABLE, list(SHARED))]
    found += [f"{name}: a view with its owner's rights" for name in await names(_VIEWS)]
    found += [f"{name}: unique without the user" for name in await names(_UNIQUE, list(ACROSS_USERS))]
    found += [f"{name}: a role above the policies" for name in await names(_ROLES, list(SERVICES))]
    found += await names(_OWNED, list(SERVICES))
    found += [
        f"{name}: a membership"
        for name in await names(_MEMBERSHIPS, list(SERVICES))
        if name not in _MEMBERSHIPS_ALLOWED
    ]
    found += [f"{name}: its owner does not see all rows" for name in await names(_UNREAD)]
    found += [f"{name}: a definer's function without a fixed path, or open to all" for name in await names(_DEFINERS)]
    return found
