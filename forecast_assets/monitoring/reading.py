"""How the exporter reaches the sales database, and which errors say that it cannot be read."""

import adbc_driver_postgresql.dbapi as adbc
from psycopg.conninfo import make_conninfo

from warehouse.errors import WarehouseError

#: Errors that say that the database cannot be read.
READ_ERRORS = (WarehouseError, adbc.Error)


def reading_address(address: str, statement_seconds: int) -> str:
    """Return an address whose transactions only read, and end by themselves.

    Args:
        address: The address with the reader's role.
        statement_seconds: Seconds after which PostgreSQL ends a statement.
    """
    return make_conninfo(
        address,
        connect_timeout=3,
        application_name="forecast_exporter",
        options=f"-c statement_timeout={statement_seconds}s "
        "-c default_transaction_read_only=on -c timezone=UTC",
    )
