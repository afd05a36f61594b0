-- A database that was restored from a backup is older than what workers know (decision 0043). And a backup reads every
-- row, also where the owner of the tables is no superuser, whom forced row security would hide rows from.

ALTER TABLE engine_epoch
    ADD COLUMN restored_at timestamptz,                -- null: it never was
    ADD COLUMN restored_id bigint NOT NULL DEFAULT 0,  -- jobs up to this id were in the backup
    ADD COLUMN fence_floor bigint NOT NULL DEFAULT 0,  -- attempts of these that begin from now on have greater fences
    ADD COLUMN quiet_since timestamptz;                -- first start then: what the backup does not know may live a lease

DO $$
DECLARE name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'swarmsync'::regnamespace AND c.relforcerowsecurity AND NOT EXISTS (
            SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*')
                AND (SELECT oid FROM pg_roles WHERE rolname = current_user) = ANY (p.polroles))
    LOOP
        EXECUTE format('CREATE POLICY owner_reads ON %I FOR SELECT TO CURRENT_USER USING (true)', name);
    END LOOP;
END $$;
