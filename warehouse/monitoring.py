"""Queries for the metrics of the sales database: ledger, refreshes, delays, connections.

What is right or wrong about these is decided elsewhere: the health rules are in
`forecast_assets/planning/health.py` with their own queries in `warehouse/health.py`. How good
forecasts were is in `warehouse/service/accuracy.py`, which model serves in `warehouse/models.py`.
"""

from datetime import datetime
from typing import Any

from warehouse.connection import Transaction

#: Newest changes to look at for delays: the ledger has no index on when a change was closed.
NEWEST_CHANGES = 5_000

#: How far back delays are taken from, as PostgreSQL writes an interval.
DELAY_WINDOW = "24 hours"

#: Quantiles of the delays.
DELAY_QUANTILES = (0.5, 0.95)


def oldest_open_change(transaction: Transaction) -> datetime | None:
    """Return when the oldest open change was made; None if none is open."""
    made_at: datetime | None = transaction.value(
        "SELECT min(made_at) FROM sales.changes WHERE done_at IS NULL"
    )
    return made_at


def delays(transaction: Transaction) -> list[dict[str, Any]]:
    """Return how long changes closed lately were open: from their commit to their forecasts'.

    Returns:
        Rows with kind, changes, and seconds (one for each of `DELAY_QUANTILES`).
    """
    return transaction.rows(
        f"""
        SELECT kind, count(*) AS changes,
            percentile_cont($1::float8[]) WITHIN GROUP (
                ORDER BY extract(epoch FROM done_at - made_at)::float8) AS seconds
        FROM sales.changes
        WHERE change_id > (SELECT max(change_id) FROM sales.changes) - $2
            AND done_at > clock_timestamp() - interval '{DELAY_WINDOW}'
        GROUP BY kind ORDER BY kind
        """,
        (list(DELAY_QUANTILES), NEWEST_CHANGES),
    )


def newest_refresh(transaction: Transaction) -> dict[str, Any] | None:
    """Return the newest finished refresh: finished_at, seconds, stores; None before the first."""
    rows = transaction.rows(
        """
        SELECT finished_at, stores,
            extract(epoch FROM finished_at - started_at)::float8 AS seconds
        FROM sales.refreshes WHERE finished_at IS NOT NULL
        ORDER BY finished_at DESC NULLS LAST LIMIT 1
        """
    )
    return rows[0] if rows else None


def scored_at(transaction: Transaction) -> datetime | None:
    """Return when forecasts were last compared with sales; None before the first time."""
    value: datetime | None = transaction.value("SELECT max(scored_at) FROM sales.refreshes")
    return value


def ledger(transaction: Transaction) -> list[dict[str, Any]]:
    """Return how far each topic-partition was taken, for each topic's newest stream.

    Returns:
        Rows with topic, topic_partition, next_offset, stored, quarantined, gaps, expired and
        updated_at.
    """
    return transaction.rows(
        """
        SELECT s.topic, o.topic_partition, o.next_offset, o.stored, o.quarantined, o.gaps,
            o.expired, o.updated_at
        FROM sales.stream_offsets o JOIN sales.streams s USING (stream_id)
        WHERE s.topic NOT LIKE 'file:%'
            AND s.stream_id = (SELECT max(n.stream_id) FROM sales.streams n
                WHERE n.topic = s.topic)
        ORDER BY s.topic, o.topic_partition
        """
    )


def connections(transaction: Transaction) -> list[dict[str, Any]]:
    """Return the open connections to the server by role and database.

    Returns:
        Rows with role, database and connections.
    """
    return transaction.rows(
        """
        SELECT usename::text AS role, datname::text AS database, count(*) AS connections
        FROM pg_stat_activity WHERE usename IS NOT NULL AND datname IS NOT NULL
        GROUP BY usename, datname ORDER BY usename, datname
        """
    )


def connection_limits(transaction: Transaction) -> list[dict[str, Any]]:
    """Return how many connections each limited role may open: rows with role and connections."""
    return transaction.rows(
        """
        SELECT rolname::text AS role, rolconnlimit AS connections FROM pg_roles
        WHERE rolcanlogin AND rolconnlimit >= 0 ORDER BY rolname
        """
    )


def size(transaction: Transaction) -> tuple[str, int]:
    """Return the database's name and its size in bytes."""
    (row,) = transaction.rows(
        """
        SELECT current_database()::text AS database,
            pg_database_size(current_database()) AS bytes
        """
    )
    return row["database"], row["bytes"]
