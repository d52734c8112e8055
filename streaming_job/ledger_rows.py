"""The statements that open, lock and advance a row of `sales.stream_offsets`, and its balance.

Both database drivers run these statements: Spark's Python workers and `requeue` through `sink`
(ADBC), the driver process through `ledger` (psycopg). The module imports neither driver, so a
worker loads it cheaply. The constraint `offsets_balance` of the table refuses a row whose
`next_offset` does not match its counts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rossmann import event_times

#: Parameters: stream, topic-partition, first offset.
OPEN_ROW = """
INSERT INTO sales.stream_offsets (stream_id, topic_partition, first_offset, next_offset)
VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING
"""
#: Parameters: stream, topic-partition. Returns the next offset.
LOCK_ROW = """
SELECT next_offset FROM sales.stream_offsets
WHERE stream_id = $1 AND topic_partition = $2 FOR UPDATE
"""
#: Parameters: stream, topic-partition, next offset, and the fields of `Counts` to add.
#: The next offset is not computed here, so the constraint still compares two independent figures.
ADVANCE_ROW = """
UPDATE sales.stream_offsets SET next_offset = $3, stored = stored + $4,
    quarantined = quarantined + $5, gaps = gaps + $6, expired = expired + $7,
    updated_at = clock_timestamp()
WHERE stream_id = $1 AND topic_partition = $2
"""
#: Parameters: stream, topic-partition, offset and digest of the last event, newest possible time.
NOTE_LAST_EVENT = """
UPDATE sales.stream_offsets SET last_event_offset = $3, last_event_digest = $4,
    newest_event_time = greatest(newest_event_time, $5)
WHERE stream_id = $1 AND topic_partition = $2
"""


def event_digest(time_micros: int, key: bytes | None, value: bytes | None) -> bytes:
    """Return the SHA-256 by which the ledger knows an event again."""
    parts = [str(event_times.as_stored(time_micros)).encode()]
    parts += [b"-" if part is None else b"%d:%b" % (len(part), part) for part in (key, value)]
    return hashlib.sha256(b"|".join(parts)).digest()


@dataclass(frozen=True)
class Counts:
    """Offsets by what became of them.

    Attributes:
        stored: Events in `raw_sales`, and superseded ones that retention has removed from it.
        quarantined: Events in `quarantined_events`.
        gaps: Offsets that hold no event: transaction markers, compaction, aborted events.
        expired: Events that Kafka's retention deleted before the stream read them.
    """

    stored: int = 0
    quarantined: int = 0
    gaps: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """Every offset accounted for; equals `next_offset - first_offset` of a balanced row."""
        return self.stored + self.quarantined + self.gaps + self.expired

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.stored - other.stored,
            self.quarantined - other.quarantined,
            self.gaps - other.gaps,
            self.expired - other.expired,
        )
