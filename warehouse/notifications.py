"""Waiting for a change without polling: PostgreSQL notifies whoever listens.

A trigger on `sales.changes` sends the notification with the commit of the change. What has changed
is read from the table; see `changes.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from warehouse.errors import UnreachableError

#: Channel of the notifications; the migrations' trigger names it too.
CHANNEL = "sales_changes"


class ChangeListener:
    """A connection that hears of every change from its creation on."""

    def __init__(self, connection: psycopg.Connection) -> None:
        """Wrap a connection that listens."""
        self._connection = connection

    def wait(self, seconds: float) -> None:
        """Return when a change has been committed, and at the latest after some seconds."""
        for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            return


@contextmanager
def listening(url: str) -> Iterator[ChangeListener]:
    """Listen for changes until the end of the block.

    Args:
        url: The sales database, with any role.

    Raises:
        UnreachableError: PostgreSQL does not answer, or goes away meanwhile.
    """
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            yield ChangeListener(connection)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise UnreachableError(f"the sales database does not answer ({reason})") from error
