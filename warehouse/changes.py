"""Statements on the `changes` ledger and on the refreshes that claim and close its rows.

When a refresh runs is decided in `forecast_assets/planning`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from warehouse.connection import Transaction

#: Condition on changes that a refresh may claim. A failed store's change waits for its next try.
DUE = "done_at IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())"

#: Wait before a failed store's first retry. The wait doubles with each retry, because every retry
#: costs a run, and usually a person has to fix the store's data first.
FIRST_STORE_WAIT = timedelta(seconds=10)

#: Longest wait before a failed store is tried again.
LONGEST_STORE_WAIT = timedelta(hours=1)


@dataclass(frozen=True)
class OpenChanges:
    """Changes that a refresh may claim now, with each store's earliest changed day."""

    count: int
    newest_id: int
    first_days: dict[int, date]


@dataclass(frozen=True)
class ClaimedChanges:
    """Changes that a refresh has claimed and not closed.

    Attributes:
        count: Number of changes.
        data_first_days: Earliest day whose sales or plan changed, by store.
        plan_first_days: Earliest day of a plan that was merged before the refresh, by store. Plans
            that the refresh itself merges do not count.
        model_stores: Stores that only need newer models.
        suspects: Stores for which an earlier refresh failed.
    """

    count: int
    data_first_days: dict[int, date]
    plan_first_days: dict[int, date]
    model_stores: list[int]
    suspects: frozenset[int] = frozenset()


def seconds_until_settled(transaction: Transaction, seconds: float) -> float | None:
    """Return the seconds to wait until the changes have settled.

    Args:
        transaction: The open transaction.
        seconds: Changes have settled when no change was added for this long.

    Returns:
        Seconds, 0 or less if the changes have settled already; None if no change waits for a
        refresh.
    """
    left: float | None = transaction.value(
        f"""
        SELECT extract(epoch FROM
            max(made_at) + make_interval(secs => $1) - clock_timestamp())::float8
        FROM sales.changes WHERE {DUE}
        """,
        (seconds,),
    )
    return left


def open_changes(transaction: Transaction) -> OpenChanges | None:
    """Return the open changes that a refresh may claim now; None if there are none."""
    (row,) = transaction.rows(
        f"""
        SELECT count(*) AS count, max(change_id) AS newest_id
        FROM sales.changes WHERE {DUE}
        """
    )
    if not row["count"]:
        return None
    stores = transaction.rows(
        f"""
        SELECT t.store, min(t.first_day) AS first_day
        FROM sales.changes c, unnest(c.stores, c.first_days) AS t (store, first_day)
        WHERE {DUE} GROUP BY t.store
        """
    )
    return OpenChanges(
        count=row["count"],
        newest_id=row["newest_id"],
        first_days={stored["store"]: stored["first_day"] for stored in stores},
    )


def take(transaction: Transaction, refresh_id: str) -> ClaimedChanges:
    """Claim the changes that are due for a refresh, and record the offsets that it includes.

    A change that an earlier refresh claimed but did not close is still open, because that refresh
    failed. If a store waits for its next try and has another change, both are claimed at once.

    Args:
        transaction: The open transaction.
        refresh_id: The Dagster run of the refresh. A retry of the same run claims again.
    """
    transaction.execute(
        f"""
        UPDATE sales.changes SET refresh_id = $1
        WHERE done_at IS NULL AND stores && (
            SELECT coalesce(array_agg(store), '{{}}')
            FROM sales.changes c, unnest(c.stores) AS store WHERE {DUE})
        """,
        (refresh_id,),
    )
    claimed = claimed_by(transaction, refresh_id)
    first_days = list(claimed.data_first_days.values())
    offsets = transaction.rows(
        """
        SELECT s.topic, s.topic_uuid, o.topic_partition, o.next_offset
        FROM sales.stream_offsets o JOIN sales.streams s USING (stream_id)
        ORDER BY s.topic, s.topic_uuid, o.topic_partition
        """
    )
    transaction.execute(
        """
        INSERT INTO sales.refreshes (refresh_id, changes, stores, first_day, offsets)
        VALUES ($1, $2, $3, $4, $5::text::jsonb)
        ON CONFLICT (refresh_id) DO UPDATE SET
            changes = excluded.changes, stores = excluded.stores,
            first_day = excluded.first_day, offsets = excluded.offsets,
            started_at = excluded.started_at
        """,
        (
            refresh_id,
            claimed.count,
            len(claimed.data_first_days.keys() | set(claimed.model_stores)),
            min(first_days) if first_days else None,
            json.dumps(offsets),
        ),
    )
    return claimed


def note_found(
    transaction: Transaction, refresh_id: str, kind: str, first_days: Mapping[int, date]
) -> None:
    """Add a change that a refresh itself has detected; the refresh has claimed it at once.

    Call this function in the transaction that writes the changed rows. If the refresh fails later,
    its retry finds the rows already written, so it learns of the difference only from this change.

    Args:
        transaction: The open transaction.
        refresh_id: The refresh.
        kind: 'plan' for a changed plan, 'features' for changed features of unchanged days.
        first_days: Store -> its first changed day.
    """
    if first_days:
        transaction.execute(
            """
            INSERT INTO sales.changes (kind, stores, first_days, refresh_id)
            VALUES ($1, $2::int4[], $3::date[], $4)
            """,
            (kind, list(first_days), list(first_days.values()), refresh_id),
        )


def has_begun(transaction: Transaction, refresh_id: str) -> bool:
    """Return whether a refresh has claimed its changes."""
    return bool(
        transaction.value(
            "SELECT count(*) FROM sales.refreshes WHERE refresh_id = $1", (refresh_id,)
        )
    )


def claimed_by(transaction: Transaction, refresh_id: str) -> ClaimedChanges:
    """Return the changes that a refresh has claimed and not closed."""
    count = transaction.value(
        "SELECT count(*) FROM sales.changes WHERE refresh_id = $1 AND done_at IS NULL",
        (refresh_id,),
    )
    rows = transaction.rows(
        """
        SELECT t.store, min(t.first_day) FILTER (WHERE c.kind <> 'champion') AS first_day,
            min(t.first_day) FILTER (WHERE c.kind = 'plan') AS plan_first_day,
            max(c.tries) AS tries
        FROM sales.changes c, unnest(c.stores, c.first_days) AS t (store, first_day)
        WHERE c.refresh_id = $1 AND c.done_at IS NULL
        GROUP BY t.store ORDER BY t.store
        """,
        (refresh_id,),
    )
    return ClaimedChanges(
        count=count,
        data_first_days={
            row["store"]: row["first_day"] for row in rows if row["first_day"] is not None
        },
        plan_first_days={
            row["store"]: row["plan_first_day"] for row in rows if row["plan_first_day"] is not None
        },
        model_stores=[row["store"] for row in rows if row["first_day"] is None],
        suspects=frozenset(row["store"] for row in rows if row["tries"]),
    )


def note_failed(transaction: Transaction, refresh_id: str, failed: Mapping[int, str]) -> None:
    """Record the stores that failed in a refresh, and why; a store keeps its first reason."""
    transaction.execute(
        "UPDATE sales.refreshes SET failed = $2::text::jsonb || failed WHERE refresh_id = $1",
        (refresh_id, json.dumps(failed)),
    )


def failed(transaction: Transaction, refresh_id: str) -> dict[int, str]:
    """Return the stores that have failed in a refresh so far, with the reasons."""
    rows = transaction.rows(
        """
        SELECT e.key::int4 AS store, e.value AS reason
        FROM sales.refreshes, jsonb_each_text(failed) AS e WHERE refresh_id = $1
        """,
        (refresh_id,),
    )
    return {row["store"]: row["reason"] for row in rows}


def close(
    transaction: Transaction,
    refresh_id: str,
    *,
    newest_origin: date | None,
    model_version: str | None,
) -> None:
    """Close a refresh's changes, in the transaction that commits its forecasts.

    Each failed store gets a new open change of its own, which keeps the time of the original.
    """
    transaction.execute(
        """
        INSERT INTO sales.changes
            (kind, made_at, stores, first_days, tries, not_before, error)
        SELECT min(c.kind), min(c.made_at), ARRAY[t.store], ARRAY[min(t.first_day)],
            max(c.tries) + 1,
            clock_timestamp() + make_interval(secs => least($2 * power(2, max(c.tries)), $3)),
            r.failed ->> t.store::text
        FROM sales.refreshes r
        JOIN sales.changes c USING (refresh_id),
            unnest(c.stores, c.first_days) AS t (store, first_day)
        WHERE r.refresh_id = $1 AND c.done_at IS NULL AND r.failed ? t.store::text
        GROUP BY t.store, c.kind = 'champion', r.failed
        """,
        (refresh_id, FIRST_STORE_WAIT.total_seconds(), LONGEST_STORE_WAIT.total_seconds()),
    )
    transaction.execute(
        """
        UPDATE sales.changes SET done_at = clock_timestamp()
        WHERE refresh_id = $1 AND done_at IS NULL
        """,
        (refresh_id,),
    )
    transaction.execute(
        """
        UPDATE sales.refreshes
        SET finished_at = clock_timestamp(), newest_origin = $2, model_version = $3
        WHERE refresh_id = $1
        """,
        (refresh_id, newest_origin, model_version),
    )


def unscored(transaction: Transaction) -> list[str]:
    """Return the finished refreshes whose days have not been scored yet.

    Usually this is the running refresh alone. A refresh that was killed before it scored is among
    them too.
    """
    rows = transaction.rows(
        """
        SELECT refresh_id FROM sales.refreshes
        WHERE finished_at IS NOT NULL AND scored_at IS NULL ORDER BY finished_at
        """
    )
    return [row["refresh_id"] for row in rows]


def first_days(transaction: Transaction, refresh_ids: Sequence[str]) -> dict[int, date]:
    """Return each store's earliest changed day (sales or plan) among refreshes' claimed changes."""
    rows = transaction.rows(
        """
        SELECT t.store, min(t.first_day) AS first_day
        FROM sales.changes c, unnest(c.stores, c.first_days) AS t (store, first_day)
        WHERE c.refresh_id = ANY($1::text[]) AND c.kind <> 'champion'
        GROUP BY t.store ORDER BY t.store
        """,
        (list(refresh_ids),),
    )
    return {row["store"]: row["first_day"] for row in rows}


def note_scored(transaction: Transaction, refresh_ids: Sequence[str]) -> None:
    """Mark refreshes as scored, in the transaction that scored them."""
    transaction.execute(
        """
        UPDATE sales.refreshes SET scored_at = clock_timestamp()
        WHERE refresh_id = ANY($1::text[])
        """,
        (list(refresh_ids),),
    )


def note_champion(transaction: Transaction) -> None:
    """Add a change for all stores: a newer pooled model serves them from now on."""
    transaction.execute(
        """
        INSERT INTO sales.changes (kind, stores, first_days)
        SELECT 'champion', array_agg(store ORDER BY store), array_agg(newest ORDER BY store)
        FROM (SELECT store, max(date) AS newest FROM sales.cleaned_sales GROUP BY store) AS known
        HAVING count(*) > 0
        """
    )


def note_timing(transaction: Transaction, refresh_id: str, asset: str, seconds: float) -> None:
    """Record the seconds that an asset took in a refresh."""
    transaction.execute(
        """
        UPDATE sales.refreshes SET timings = timings || jsonb_build_object($2::text, $3::float8)
        WHERE refresh_id = $1
        """,
        (refresh_id, asset, round(seconds, 3)),
    )


def overdue(transaction: Transaction, minutes: float) -> list[dict[str, Any]]:
    """Return stores with a failed change, or with one that has been open for too long.

    Args:
        transaction: The open transaction.
        minutes: How long a change may be open.

    Returns:
        Rows with store, first_day, made_at (of the oldest change) and error (None unless the store
        failed).
    """
    return transaction.rows(
        """
        SELECT t.store, min(t.first_day) AS first_day, min(c.made_at) AS made_at,
            max(c.error) AS error
        FROM sales.changes c, unnest(c.stores, c.first_days) AS t (store, first_day)
        WHERE c.done_at IS NULL
            AND (c.tries > 0 OR c.made_at < clock_timestamp() - make_interval(secs => $1))
        GROUP BY t.store ORDER BY t.store
        """,
        (minutes * 60.0,),
    )
