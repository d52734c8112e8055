"""Waiting for a change without polling, through PostgreSQL's notifications.

A trigger on `sales.changes` sends a notification when a change is committed. The notification does
not describe the change; `changes.py` reads the table.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from warehouse.errors import UnreachableError

#: Channel of the notifications; the migrations' trigger names it too.
CHANNEL = "sales_changes"


class ChangeListener:
    """A connection that receives a notification of every change after its creation."""

    def __init__(self, connection: psycopg.Connection) -> None:
        """Wrap a connection that listens."""
        self._connection = connection

    def wait(self, seconds: float) -> None:
        """Wait until a change has been committed, but at most some seconds."""
        for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            return


@contextmanager
def listening(url: str) -> Iterator[ChangeListener]:
    """Listen for changes until the end of the block.

    Args:
        url: Address of the sales database, with any role.

    Raises:
        UnreachableError: PostgreSQL does not answer, or the connection breaks inside the block.
    """
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            yield ChangeListener(connection)
    except psycopg.OperationalError as error:
        raise UnreachableError.of_driver(error) from error
