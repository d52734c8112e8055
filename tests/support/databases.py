"""Databases for single tests: of sales, copied from a template, and of Dagster."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from local_stack.postgres_roles import close, create_database, read_access, run_scripts
from local_stack.stack import Stack

#: The migrated, empty database of the session.
TEMPLATE = "sales_template"


@contextmanager
def copied_database(stack: Stack, template: str = TEMPLATE) -> Iterator[str]:
    """Copy a sales database, by default the empty one; yield the copy's name and drop it later."""
    name = f"sales_{uuid.uuid4().hex[:12]}"
    stack.postgres.create_sales_database(name, template=template)
    try:
        yield name
    finally:
        stack.postgres.drop_database(name)


@contextmanager
def empty_dagster_database(stack: Stack) -> Iterator[str]:
    """Make a database of Dagster's own, empty but for what the reader may ask; drop it later."""
    name = f"dagster_{uuid.uuid4().hex[:12]}"
    access = read_access().databases["dagster"]
    with stack.postgres.admin_connection() as admin:
        create_database(admin, name, access)
    with stack.postgres.admin_connection(name) as admin:
        # As the stack does at its start.
        close(admin, access)
        run_scripts(admin, access)
    try:
        yield name
    finally:
        stack.postgres.drop_database(name)
