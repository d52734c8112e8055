"""Queries about the health of the chain: arrivals, the stream's heartbeat, quarantine, origins.

The rules that judge what these return are in `forecast_assets/planning/health.py`.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from warehouse.connection import Transaction

#: Weeks of sales from which the usual arrival of sales is learned.
HISTORY_WEEKS = 9


def now(transaction: Transaction) -> datetime:
    """Return the database's clock."""
    value: datetime = transaction.value("SELECT clock_timestamp()")
    return value


def arrivals(transaction: Transaction, today: date) -> list[dict[str, Any]]:
    """Return how the sales of the newest weeks came.

    Args:
        transaction: The open transaction.
        today: Sales of later days have not happened.

    Returns:
        Rows with day, stores (that are not retired) and arrived (when half of the events had).
    """
    rows = _arrivals(transaction, today)
    if not rows or rows[-1]["day"] < today - timedelta(days=7):
        # The last sales are older, and so are the weeks before them.
        newest = transaction.value(
            "SELECT max(date) FROM sales.raw_sales WHERE sales IS NOT NULL AND date <= $1",
            (today,),
        )
        rows = _arrivals(transaction, newest) if newest is not None else []
    return rows


def _arrivals(transaction: Transaction, until: date) -> list[dict[str, Any]]:
    return transaction.rows(
        """
        SELECT date AS day, count(DISTINCT store)::int4 AS stores,
            percentile_disc(0.5) WITHIN GROUP (ORDER BY ingest_time) AS arrived
        FROM sales.raw_sales
        WHERE sales IS NOT NULL AND date > $1 AND date <= $2
            AND store NOT IN (SELECT store FROM sales.retired_stores)
        GROUP BY date ORDER BY date
        """,
        (until - timedelta(weeks=HISTORY_WEEKS), until),
    )


def stream(transaction: Transaction) -> dict[str, Any] | None:
    """Return the newest heartbeat of the stream; None if it has never run."""
    rows = transaction.rows(
        """
        SELECT topic, state, beat_at, failing_since, behind_since, lag_events, error,
            (SELECT count(*) FROM unnest(starts) AS start
                WHERE start > clock_timestamp() - interval '1 hour')::int4 AS starts
        FROM sales.stream_heartbeats ORDER BY beat_at DESC LIMIT 1
        """
    )
    return rows[0] if rows else None


def quarantined(transaction: Transaction) -> tuple[int, dict[str, int]]:
    """Return what became of the topic's events of the 24 hours before the newest one came.

    What a person withdrew was good enough for the stream, so it is not counted.

    Returns:
        The number of events, and of those in quarantine by reason.
    """
    rows = transaction.rows(
        """
        WITH bound AS (
            SELECT greatest(
                (SELECT max(ingest_time) FROM sales.quarantined_events
                    WHERE reason <> 'withdrawn'),
                (SELECT max(o.updated_at) FROM sales.stream_offsets o
                    JOIN sales.streams s USING (stream_id) WHERE s.topic NOT LIKE 'file:%')
            ) - interval '24 hours' AS since
        )
        SELECT reason, count(*) AS events FROM sales.quarantined_events, bound
        WHERE ingest_time > since AND reason <> 'withdrawn' GROUP BY reason
        UNION ALL
        SELECT NULL, count(*) FROM sales.raw_sales r JOIN sales.streams s USING (stream_id), bound
        WHERE r.ingest_time > since AND s.topic NOT LIKE 'file:%'
        """
    )
    by_reason = {row["reason"]: row["events"] for row in rows if row["reason"] is not None}
    return sum(row["events"] for row in rows), by_reason


def outdated_corrections(transaction: Transaction) -> list[dict[str, Any]]:
    """Return the corrections of the last week that do not count and that nobody has settled.

    Returns:
        Rows with store, day, sales, sent, kept_sales, kept_sent and place (topic, topic-partition
        and offset), newest first.
    """
    return transaction.rows(
        """
        SELECT store, date AS day, sales, event_time AS sent, kept_sales,
            kept_event_time AS kept_sent,
            format('%s[%s] offset %s', topic, topic_partition, kafka_offset) AS place
        FROM sales.outdated_in_force
        WHERE noted_at > clock_timestamp() - interval '7 days'
        ORDER BY noted_at DESC, kafka_offset DESC
        """
    )


def origins(transaction: Transaction) -> dict[int, date]:
    """Return the origin of each store's forecasts in force."""
    rows = transaction.rows(
        """
        SELECT store, origin FROM sales.current_forecasts WHERE horizon = 1
        """
    )
    return {row["store"]: row["origin"] for row in rows}


def waiting_stores(transaction: Transaction) -> list[int]:
    """Return the stores with an open change, whether or not a refresh may claim it now."""
    rows = transaction.rows(
        """
        SELECT DISTINCT unnest(stores) AS store FROM sales.changes
        WHERE done_at IS NULL ORDER BY store
        """
    )
    return [row["store"] for row in rows]


def open_changes(transaction: Transaction) -> int:
    """Count the open changes."""
    return int(transaction.value("SELECT count(*) FROM sales.changes WHERE done_at IS NULL"))


def refreshed_at(transaction: Transaction) -> datetime | None:
    """Return when the newest refresh finished; None before the first."""
    value: datetime | None = transaction.value("SELECT max(finished_at) FROM sales.refreshes")
    return value


def unusual_sales(transaction: Transaction, since: date) -> list[dict[str, Any]]:
    """Return sales of an unusual size that no second event confirms.

    Features leave such a day's sales out, so it has sales and no logarithm of them.

    Args:
        transaction: The open transaction.
        since: The first day.

    Returns:
        Rows with store, date and sales, newest first.
    """
    return transaction.rows(
        """
        SELECT c.store, c.date, c.sales
        FROM sales.features f JOIN sales.cleaned_sales c USING (store, date)
        WHERE f.log_sales IS NULL AND c.open = 1 AND c.sales > 0
            AND f.date >= $1 AND c.date >= $1
        ORDER BY c.date DESC, c.store
        """,
        (since,),
    )


def retired_stores(transaction: Transaction) -> list[int]:
    """Return the stores that are closed for good."""
    rows = transaction.rows("SELECT store FROM sales.retired_stores ORDER BY store")
    return [row["store"] for row in rows]


def retire(transaction: Transaction, stores: Sequence[int]) -> None:
    """Retire stores of the chain."""
    transaction.execute(
        """
        INSERT INTO sales.retired_stores (store)
        SELECT unnest($1::int4[]) ON CONFLICT DO NOTHING
        """,
        (list(stores),),
    )


def reinstate(transaction: Transaction, stores: Sequence[int]) -> None:
    """Take back the retirement of stores."""
    transaction.execute(
        "DELETE FROM sales.retired_stores WHERE store = ANY($1::int4[])", (list(stores),)
    )
