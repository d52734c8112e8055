"""Withdrawing sales: a person takes back what should never have been stored.

The event moves to quarantine with the person's reason, in one transaction with its row of the
ledger, so every offset stays accounted for. The function `sales.withdraw_sales` does the work: the
stream's role may not delete from `raw_sales`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from streaming_job import ledger
from streaming_job.errors import RefusedError

_WITHDRAW = "SELECT * FROM sales.withdraw_sales(%s, %s, %s, %s)"
_REMAINING = """
SELECT s.topic, r.topic_partition, r.kafka_offset,
    -- An event of before the limits may have a time that Python does not understand.
    least(r.event_time, timestamptz '2262-01-01 00:00:00+00'), r.sales
FROM sales.raw_sales r JOIN sales.streams s USING (stream_id)
WHERE r.store = %s AND r.date = %s AND r.sales IS NOT NULL
ORDER BY r.event_time DESC, s.topic || '/' || s.topic_uuid COLLATE "C" DESC,
    r.topic_partition DESC, r.kafka_offset DESC
LIMIT 1
"""


@dataclass(frozen=True)
class Sale:
    """One event with sales, and where it came from."""

    topic: str
    topic_partition: int
    kafka_offset: int
    event_time: datetime
    sales: int

    def __str__(self) -> str:
        """Return what a person needs to know it again."""
        return (
            f"Sales {self.sales} of {self.topic}-{self.topic_partition} offset "
            f"{self.kafka_offset}, sent {self.event_time:%Y-%m-%d %H:%M:%S}"
        )


@dataclass(frozen=True)
class Withdrawal:
    """The sales that were withdrawn, and those that count for the day now; None if none do."""

    withdrawn: list[Sale]
    remaining: Sale | None


def withdraw(
    database_url: str, store: int, day: date, reason: str, *, every: bool = False
) -> Withdrawal:
    """Withdraw the sales of a store and day.

    Args:
        database_url: The sales database as the stream's role.
        store: The store.
        day: The day.
        reason: Why; kept with the event.
        every: Withdraw every event with sales of the day, not only the one that counts.

    Raises:
        RefusedError: The day has no sales, or no reason is given.
        UnavailableError: PostgreSQL does not answer.
    """
    if not reason.strip():
        raise RefusedError("a withdrawal needs a reason: say why with --reason")
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        raise RefusedError("the reason is not UTF-8: write it again") from error
    with ledger.connect(database_url) as connection:
        rows = connection.execute(_WITHDRAW, (store, day, reason, every)).fetchall()
        if not rows:
            raise RefusedError(
                f"store {store} has no sales of {day}: check the number and the day; "
                "sales in quarantine do not count anyway"
            )
        remaining = connection.execute(_REMAINING, (store, day)).fetchone()
    return Withdrawal([Sale(*row) for row in rows], Sale(*remaining) if remaining else None)
