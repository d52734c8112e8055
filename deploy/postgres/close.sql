-- Takes from everybody what PostgreSQL lets every role of a database do besides reading: keep large
-- objects, and hold the advisory locks that writers wait for. roles.txt gives the locks back to whom
-- they are for. Run in the database, as the superuser; again does no harm.
DO $$
DECLARE
    open_to_all regprocedure;
BEGIN
    FOR open_to_all IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND (
            proname LIKE 'pg\_%advisory%lock%'
            OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import', 'lo_open',
                'lo_put', 'lo_truncate', 'lo_truncate64', 'lowrite'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', open_to_all);
    END LOOP;
END $$;
