"""The stored calendar, and notifications of changes, which wake the sensor.

The table of changes also accepts changes of a widened calendar and of a refresh itself.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sales.calendar (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    grain     text NOT NULL CHECK (grain IN ('monthly', 'weekly', 'daily')),
    first_day date NOT NULL,
    last_day  date
);
COMMENT ON TABLE sales.calendar IS
    'The date partitions of the assets: their grain, the first day and the last (null: open). '
    'The periods of stored models and backtests follow this grain.';
GRANT SELECT ON sales.calendar TO sales_reader, sales_assets;
GRANT INSERT, UPDATE ON sales.calendar TO sales_assets;

ALTER TABLE sales.changes DROP CONSTRAINT changes_kind_check;
ALTER TABLE sales.changes ADD CONSTRAINT changes_kind_check CHECK (
    kind IN ('stream', 'file', 'requeue', 'stores', 'plan', 'champion', 'calendar', 'features'));

CREATE FUNCTION sales.notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sales_changes', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER notify_change AFTER INSERT ON sales.changes
    FOR EACH STATEMENT EXECUTE FUNCTION sales.notify_change();
COMMENT ON FUNCTION sales.notify_change IS
    'Wakes the refresh sensor, which listens, with the commit of a change.';
"""

DOWNGRADE = """
DROP TRIGGER notify_change ON sales.changes;
DROP FUNCTION sales.notify_change;
UPDATE sales.changes SET kind = 'file' WHERE kind IN ('calendar', 'features');
ALTER TABLE sales.changes DROP CONSTRAINT changes_kind_check;
ALTER TABLE sales.changes ADD CONSTRAINT changes_kind_check CHECK (
    kind IN ('stream', 'file', 'requeue', 'stores', 'plan', 'champion'));
DROP TABLE sales.calendar;
"""


def upgrade() -> None:
    """Apply the migration."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the migration."""
    op.execute(DOWNGRADE)
