"""A new month's table is added beside readers and writers, never in front of them.

`CREATE TABLE ... PARTITION OF` waits for every reader of the whole table, and then keeps all others
out until its transaction ends. A table that is made on its own and attached does neither.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE FUNCTION sales.missing_months(first_day date, last_day date)
RETURNS TABLE (parent text, month date)
LANGUAGE sql STABLE SET search_path = sales, pg_temp AS $$
    SELECT c.relname::text, m::date
    FROM pg_partitioned_table p
    JOIN pg_class c ON c.oid = p.partrelid
    CROSS JOIN generate_series(
        date_trunc('month', first_day::timestamp), last_day::timestamp, interval '1 month') AS m
    WHERE c.relnamespace = 'sales'::regnamespace AND p.partstrat = 'r' AND NOT EXISTS (
        SELECT FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid
        WHERE i.inhparent = c.oid AND child.relname = c.relname || '_' || to_char(m, 'YYYYMM'))
    ORDER BY 1, 2
$$;
COMMENT ON FUNCTION sales.missing_months IS
    'The months of a span of days that a table partitioned by month has no child table for.';

CREATE FUNCTION sales.attach_month(parent text, month date) RETURNS void
LANGUAGE plpgsql SET search_path = sales, pg_temp AS $$
DECLARE
    child   text := parent || '_' || to_char(month, 'YYYYMM');
    next    date := (month + interval '1 month')::date;
    covered text := child || '_covered';
    column_ text;
BEGIN
    IF to_regclass(format('sales.%I', child)) IS NOT NULL THEN
        RAISE EXCEPTION 'the table sales.% is there, but no part of sales.%', child, parent
            USING HINT = 'Somebody detached it: attach it again, or rename it.';
    END IF;
    SELECT a.attname INTO STRICT column_ FROM pg_partitioned_table p
        JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
        WHERE p.partrelid = format('sales.%I', parent)::regclass;
    EXECUTE format('CREATE TABLE sales.%I (LIKE sales.%I INCLUDING ALL)', child, parent);
    -- With it, the attachment scans no row.
    EXECUTE format(
        'ALTER TABLE sales.%I ADD CONSTRAINT %I CHECK (%I IS NOT NULL AND %I >= %L AND %I < %L)',
        child, covered, column_, column_, month, column_, next);
    EXECUTE format('ALTER TABLE sales.%I ATTACH PARTITION sales.%I FOR VALUES FROM (%L) TO (%L)',
        parent, child, month, next);
    -- The bounds say the same from now on.
    EXECUTE format('ALTER TABLE sales.%I DROP CONSTRAINT %I', child, covered);
END $$;
COMMENT ON FUNCTION sales.attach_month IS
    'Makes the child table of a month. Attaching blocks neither readers nor writers of the parent.';

CREATE OR REPLACE FUNCTION sales.ensure_months(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = sales, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    attempts CONSTANT integer := 30;
    missing  record;
    made     integer;
BEGIN
    FOR attempt IN 1..attempts LOOP
        -- The usual case takes no lock at all.
        EXIT WHEN NOT EXISTS (SELECT FROM missing_months(first_day, last_day));
        BEGIN
            -- Processes that start together must not race for the same child table.
            PERFORM pg_advisory_xact_lock(hashtext('sales.ensure_months'));
            made := 0;
            FOR missing IN SELECT * FROM missing_months(first_day, last_day) LOOP
                PERFORM attach_month(missing.parent, missing.month);
                made := made + 1;
            END LOOP;
            RETURN made;
        EXCEPTION WHEN lock_not_available THEN
            -- Whoever waits for a lock makes others wait behind: give way, then try again.
            IF attempt = attempts THEN
                RAISE EXCEPTION 'monthly tables could not be added: another transaction holds its '
                    'lock for longer than % attempts', attempts
                    USING ERRCODE = 'lock_not_available',
                        HINT = 'pg_stat_activity lists long transactions; end it and try again.';
            END IF;
            PERFORM pg_sleep(random());
        END;
    END LOOP;
    RETURN 0;
END $$;
COMMENT ON FUNCTION sales.ensure_months IS
    'Makes the monthly child tables of every partitioned table for a span of days, and returns how '
    'many. Call it in a transaction of its own: until it ends, nobody else can add tables.';
REVOKE ALL ON FUNCTION sales.missing_months, sales.attach_month FROM public;
-- A trigger's function needs no right to be called.
REVOKE ALL ON FUNCTION sales.notify_change FROM public;
"""

DOWNGRADE = """
CREATE OR REPLACE FUNCTION sales.ensure_months(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = sales, pg_temp AS $$
DECLARE
    parent text;
    month  date;
    child  text;
    made   integer := 0;
BEGIN
    -- Processes that start together must not race for the same child table.
    PERFORM pg_advisory_xact_lock(hashtext('sales.ensure_months'));
    FOR parent IN
        SELECT c.relname FROM pg_partitioned_table p
        JOIN pg_class c ON c.oid = p.partrelid
        WHERE c.relnamespace = 'sales'::regnamespace AND p.partstrat = 'r'
    LOOP
        month := date_trunc('month', first_day)::date;
        WHILE month <= last_day LOOP
            child := parent || '_' || to_char(month, 'YYYYMM');
            IF to_regclass('sales.' || child) IS NULL THEN
                EXECUTE format(
                    'CREATE TABLE sales.%I PARTITION OF sales.%I FOR VALUES FROM (%L) TO (%L)',
                    child, parent, month, (month + interval '1 month')::date);
                made := made + 1;
            END IF;
            month := (month + interval '1 month')::date;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
COMMENT ON FUNCTION sales.ensure_months IS
    'Makes the monthly child tables of every partitioned table for a span of days.';
DROP FUNCTION sales.attach_month, sales.missing_months;
GRANT EXECUTE ON FUNCTION sales.notify_change TO public;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the change."""
    op.execute(DOWNGRADE)
