"""The ledger as the driver process sees it: streams, offsets, counts, monthly tables.

The statements on one row are in `ledger_rows`; the transactions of the sink are in `sink`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import date

import psycopg

from streaming_job.ledger_rows import ADVANCE_ROW, LOCK_ROW, OPEN_ROW, Counts
from streaming_job.postgres_errors import refuse_old_server, to_stream_error

#: Seconds to wait for PostgreSQL to accept a connection.
CONNECT_SECONDS = 10
_FIND_STREAM = "SELECT stream_id FROM sales.streams WHERE topic = %s AND topic_uuid = %s"


@dataclass(frozen=True)
class OffsetRow:
    """One topic-partition's row of the ledger.

    Attributes:
        topic_partition: Its number.
        first_offset: The first offset that was taken.
        next_offset: The offset after the last that was taken.
        last_event_offset: The last offset that held an event; None if none is known.
        last_event_digest: The `ledger_rows.event_digest` of that event.
    """

    topic_partition: int
    first_offset: int
    next_offset: int
    last_event_offset: int | None = None
    last_event_digest: bytes | None = None


@contextmanager
def connect(database_url: str) -> Iterator[psycopg.Connection]:
    """Open one transaction on the sales database and commit it at the end of the block.

    Raises:
        UnavailableError: PostgreSQL does not answer, or the connection broke inside the block.
        SettingsError: The certificate of the server or its authority does not fit the address.
        RefusedError: PostgreSQL refuses the role, is too old, or has no tables of this version.
    """
    try:
        with psycopg.connect(
            database_url, connect_timeout=CONNECT_SECONDS, application_name="streaming_job"
        ) as connection:
            refuse_old_server(connection.info.server_version)
            yield connection
    except psycopg.Error as error:
        raise to_stream_error(error) from error


def newest_stream(connection: psycopg.Connection, topic: str) -> tuple[int, str] | None:
    """Return the id and topic UUID of a topic's newest accepted stream, or None."""
    row = connection.execute(
        "SELECT stream_id, topic_uuid FROM sales.streams WHERE topic = %s "
        "ORDER BY accepted_at DESC, stream_id DESC LIMIT 1",
        (topic,),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def streams_of(connection: psycopg.Connection, topic: str) -> list[int]:
    """Return the ids of all streams of a topic, those of recreated topics included."""
    rows = connection.execute(
        "SELECT stream_id FROM sales.streams WHERE topic = %s ORDER BY stream_id", (topic,)
    ).fetchall()
    return [row[0] for row in rows]


def file_streams(connection: psycopg.Connection) -> list[int]:
    """Return the ids of the loaded files, whose rows a person may have withdrawn."""
    rows = connection.execute(
        "SELECT stream_id FROM sales.streams WHERE topic LIKE 'file:%' ORDER BY stream_id"
    ).fetchall()
    return [row[0] for row in rows]


def find_stream(connection: psycopg.Connection, topic: str, topic_uuid: str) -> int | None:
    """Return the stream id of a topic by its UUID, or None if it was never accepted."""
    row = connection.execute(_FIND_STREAM, (topic, topic_uuid)).fetchone()
    return None if row is None else int(row[0])


def accept_stream(connection: psycopg.Connection, topic: str, topic_uuid: str) -> int:
    """Register a topic by its UUID if it is new, and return its stream id."""
    stream_id = find_stream(connection, topic, topic_uuid)
    if stream_id is not None:
        # An INSERT that meets a conflict still consumes a number, and a smallint has only 32,767:
        # a stream that restarts every few seconds would use them up in days.
        return stream_id
    connection.execute(
        "INSERT INTO sales.streams (topic, topic_uuid) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (topic, topic_uuid),
    )
    (row,) = connection.execute(_FIND_STREAM, (topic, topic_uuid)).fetchall()
    return int(row[0])


def offsets(connection: psycopg.Connection, stream_id: int) -> dict[int, OffsetRow]:
    """Return a stream's rows of the ledger, by topic-partition."""
    rows = connection.execute(
        "SELECT topic_partition, first_offset, next_offset, last_event_offset, last_event_digest "
        "FROM sales.stream_offsets WHERE stream_id = %s ORDER BY topic_partition",
        (stream_id,),
    ).fetchall()
    return {row[0]: OffsetRow(*row) for row in rows}


def open_partitions(
    connection: psycopg.Connection, stream_id: int, beginnings: Mapping[int, int]
) -> None:
    """Open a row for every new topic-partition, at the oldest offset that the broker retains."""
    cursor = psycopg.RawCursor(connection)
    for topic_partition, beginning in beginnings.items():
        cursor.execute(OPEN_ROW, (stream_id, topic_partition, beginning))


def count_expired(
    connection: psycopg.Connection, stream_id: int, topic_partition: int, beginning: int
) -> int:
    """Advance a row past the events that retention deleted unread; return their number."""
    cursor = psycopg.RawCursor(connection)
    row = cursor.execute(LOCK_ROW, (stream_id, topic_partition)).fetchone()
    if row is None or row[0] >= beginning:
        return 0
    expired = beginning - int(row[0])
    added = Counts(expired=expired)
    cursor.execute(ADVANCE_ROW, (stream_id, topic_partition, beginning, *astuple(added)))
    return expired


def counts(connection: psycopg.Connection, stream_id: int) -> Counts:
    """Return a stream's counts, summed over its topic-partitions."""
    (row,) = connection.execute(
        "SELECT coalesce(sum(stored), 0)::bigint, coalesce(sum(quarantined), 0)::bigint, "
        "coalesce(sum(gaps), 0)::bigint, coalesce(sum(expired), 0)::bigint "
        "FROM sales.stream_offsets WHERE stream_id = %s",
        (stream_id,),
    ).fetchall()
    return Counts(*row)


def quarantined_by_reason(connection: psycopg.Connection, stream_id: int) -> dict[str, int]:
    """Return the number of a stream's quarantined events, by reason."""
    rows = connection.execute(
        "SELECT reason, count(*) FROM sales.quarantined_events WHERE stream_id = %s "
        "GROUP BY reason ORDER BY reason",
        (stream_id,),
    ).fetchall()
    return {row[0]: row[1] for row in rows}


def outdated_corrections(connection: psycopg.Connection, stream_id: int) -> int:
    """Return how many of a stream's corrections arrived late and lost by their time."""
    (row,) = connection.execute(
        "SELECT count(*) FROM sales.outdated_corrections WHERE stream_id = %s", (stream_id,)
    ).fetchall()
    return int(row[0])


def ensure_months(connection: psycopg.Connection, first_day: date, last_day: date) -> None:
    """Create the monthly child tables for events of these days."""
    connection.execute("SELECT sales.ensure_months(%s, %s)", (first_day, last_day))


def last_commit(connection: psycopg.Connection, stream_id: int) -> float:
    """Return when a topic-partition of a stream last advanced, in Unix seconds; 0 if never."""
    (row,) = connection.execute(
        "SELECT coalesce(extract(epoch FROM max(updated_at)), 0)::float8 "
        "FROM sales.stream_offsets WHERE stream_id = %s",
        (stream_id,),
    ).fetchall()
    return float(row[0])


def quarantined_partitions(
    connection: psycopg.Connection, stream_id: int, reasons: Collection[str]
) -> list[int]:
    """Return the topic-partitions with events in quarantine for one of the reasons."""
    rows = connection.execute(
        "SELECT DISTINCT topic_partition FROM sales.quarantined_events "
        "WHERE stream_id = %s AND reason = ANY (%s) ORDER BY 1",
        (stream_id, [str(reason) for reason in reasons]),
    ).fetchall()
    return [row[0] for row in rows]
