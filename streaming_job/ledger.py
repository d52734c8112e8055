"""The ledger in PostgreSQL as the driver sees it: streams, offsets, counts, monthly tables.

The statements of the sink's own transaction are in `sink`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import psycopg

from streaming_job.errors import RefusedError, UnavailableError

CONNECT_SECONDS = 10
_FIND = "SELECT stream_id FROM sales.streams WHERE topic = %s AND topic_uuid = %s"


@dataclass(frozen=True)
class OffsetRow:
    """One topic-partition's line of the ledger."""

    topic_partition: int
    first_offset: int
    next_offset: int
    stored: int
    quarantined: int
    gaps: int
    expired: int


@dataclass(frozen=True)
class Counts:
    """Events by what became of them, summed over topic-partitions."""

    stored: int = 0
    quarantined: int = 0
    gaps: int = 0
    expired: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.stored - other.stored,
            self.quarantined - other.quarantined,
            self.gaps - other.gaps,
            self.expired - other.expired,
        )


@contextmanager
def connect(database_url: str) -> Iterator[psycopg.Connection]:
    """Opens one transaction on the sales database and commits it at the end.

    Raises:
        UnavailableError: PostgreSQL does not answer, or went away in the middle.
        RefusedError: It answers, and refuses the role or lacks the tables.
    """
    try:
        with psycopg.connect(
            database_url, connect_timeout=CONNECT_SECONDS, application_name="streaming_job"
        ) as connection:
            yield connection
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise RefusedError(
            f"the database has no sales tables ({_first_line(error)}): "
            "apply the migrations with `python -m alembic upgrade head`"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise RefusedError(
            f"the role of STREAM_DATABASE_URL lacks a right: {_first_line(error)}"
        ) from error
    except psycopg.OperationalError as error:
        text = _first_line(error)
        if "authentication failed" in text or "does not exist" in text:
            raise RefusedError(f"PostgreSQL refuses STREAM_DATABASE_URL: {text}") from error
        raise UnavailableError(f"PostgreSQL does not answer: {text}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def newest_stream(connection: psycopg.Connection, topic: str) -> tuple[int, str] | None:
    """The id and topic UUID of the newest accepted stream of a topic, if there is one."""
    row = connection.execute(
        "SELECT stream_id, topic_uuid FROM sales.streams WHERE topic = %s "
        "ORDER BY accepted_at DESC, stream_id DESC LIMIT 1",
        (topic,),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def find_stream(connection: psycopg.Connection, topic: str, topic_uuid: str) -> int | None:
    """The stream id of a topic by its UUID, or None when it was never accepted."""
    row = connection.execute(_FIND, (topic, topic_uuid)).fetchone()
    return None if row is None else int(row[0])


def accept_stream(connection: psycopg.Connection, topic: str, topic_uuid: str) -> int:
    """Registers a topic by its UUID, or finds it registered, and returns its stream id."""
    known = find_stream(connection, topic, topic_uuid)
    if known is not None:
        # An INSERT that meets a conflict still takes a number, and a smallint has only 32,767: a
        # stream that starts again every few seconds would use them up in days.
        return known
    connection.execute(
        "INSERT INTO sales.streams (topic, topic_uuid) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (topic, topic_uuid),
    )
    (row,) = connection.execute(_FIND, (topic, topic_uuid)).fetchall()
    return int(row[0])


def offsets(connection: psycopg.Connection, stream_id: int) -> dict[int, OffsetRow]:
    """The ledger's lines of a stream, by topic-partition."""
    rows = connection.execute(
        "SELECT topic_partition, first_offset, next_offset, stored, quarantined, gaps, expired "
        "FROM sales.stream_offsets WHERE stream_id = %s ORDER BY topic_partition",
        (stream_id,),
    ).fetchall()
    return {row[0]: OffsetRow(*row) for row in rows}


def open_partitions(
    connection: psycopg.Connection, stream_id: int, beginnings: Mapping[int, int]
) -> None:
    """Gives every topic-partition its line, beginning at the oldest event that the broker has."""
    for topic_partition, beginning in beginnings.items():
        connection.execute(
            "INSERT INTO sales.stream_offsets "
            "(stream_id, topic_partition, first_offset, next_offset) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (stream_id, topic_partition, beginning, beginning),
        )


def count_expired(
    connection: psycopg.Connection, stream_id: int, topic_partition: int, beginning: int
) -> int:
    """Advances a line over events that retention deleted unread; returns how many it counted."""
    row = connection.execute(
        "SELECT next_offset FROM sales.stream_offsets "
        "WHERE stream_id = %s AND topic_partition = %s FOR UPDATE",
        (stream_id, topic_partition),
    ).fetchone()
    if row is None or row[0] >= beginning:
        return 0
    expired = beginning - int(row[0])
    connection.execute(
        "UPDATE sales.stream_offsets SET next_offset = %s, expired = expired + %s, "
        "updated_at = clock_timestamp() WHERE stream_id = %s AND topic_partition = %s",
        (beginning, expired, stream_id, topic_partition),
    )
    return expired


def counts(connection: psycopg.Connection, stream_id: int) -> Counts:
    """What became of a stream's events so far."""
    (row,) = connection.execute(
        "SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(quarantined), 0)::bigint, "
        "coalesce(sum(gaps), 0)::bigint, coalesce(sum(expired), 0)::bigint "
        "FROM sales.stream_offsets WHERE stream_id = %s",
        (stream_id,),
    ).fetchall()
    return Counts(*row)


def quarantined_by_reason(connection: psycopg.Connection, stream_id: int) -> dict[str, int]:
    """How many events of a stream are in quarantine, by reason."""
    rows = connection.execute(
        "SELECT reason, count(*) FROM sales.quarantined_events WHERE stream_id = %s "
        "GROUP BY reason ORDER BY reason",
        (stream_id,),
    ).fetchall()
    return {row[0]: row[1] for row in rows}


def ensure_months(connection: psycopg.Connection, first_day: date, last_day: date) -> None:
    """Makes the monthly child tables that events of these days go to."""
    connection.execute("SELECT sales.ensure_months(%s, %s)", (first_day, last_day))


def last_commit(connection: psycopg.Connection, stream_id: int) -> float:
    """Unix seconds at which a topic-partition of a stream advanced last; 0 before the first."""
    (row,) = connection.execute(
        "SELECT coalesce(extract(epoch FROM max(updated_at)), 0)::float8 "
        "FROM sales.stream_offsets WHERE stream_id = %s",
        (stream_id,),
    ).fetchall()
    return float(row[0])


def quarantined_partitions(
    connection: psycopg.Connection, stream_id: int, reasons: list[str]
) -> list[int]:
    """The topic-partitions of a stream that have events in quarantine for one of the reasons."""
    rows = connection.execute(
        "SELECT DISTINCT topic_partition FROM sales.quarantined_events "
        "WHERE stream_id = %s AND reason = ANY (%s) ORDER BY 1",
        (stream_id, [str(reason) for reason in reasons]),
    ).fetchall()
    return [row[0] for row in rows]
