"""Entry point of Alembic, which runs the migrations as the owner of the sales schema.

The migrations themselves live in `versions`.
"""

import os

from alembic import context
from sqlalchemy import create_engine, text

from warehouse.environment import forget_libpq_variables

#: Schema of all tables, and of the version table of Alembic.
SCHEMA = "sales"


def run() -> None:
    """Apply the migrations to the database that OWNER_DATABASE_URL names.

    Raises:
        SystemExit: The variable is not set.
    """
    url = os.environ.get("OWNER_DATABASE_URL")
    if not url:
        raise SystemExit(
            "OWNER_DATABASE_URL is not set; set it to the address of the sales database, with the "
            "role that owns its schema"
        )
    forget_libpq_variables()
    engine = create_engine(url)
    with engine.begin() as connection:
        # Without this lock, two starting stacks would race for the version table.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('sales.migrations'))"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        context.configure(connection=connection, version_table_schema=SCHEMA)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
