"""Sales databases for single tests, copied from a template, which is faster than migrating."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

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
