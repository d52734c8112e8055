"""Queries behind the asset checks.

The checks themselves live in `forecast_assets/defs/checks.py`.
"""

from datetime import date
from typing import Any

from warehouse.connection import Transaction


def unbalanced(transaction: Transaction) -> list[str]:
    """Describe each topic-partition whose ledger and tables disagree."""
    rows = transaction.rows(
        """
        WITH stored AS (
            SELECT stream_id, topic_partition, count(*) AS rows
            FROM (
                SELECT stream_id, topic_partition FROM sales.raw_sales
                UNION ALL
                SELECT stream_id, topic_partition FROM sales.removed_events
            ) AS events GROUP BY stream_id, topic_partition
        ), quarantined AS (
            SELECT stream_id, topic_partition, count(*) AS rows
            FROM sales.quarantined_events GROUP BY stream_id, topic_partition
        )
        SELECT coalesce(s.topic, '(no stream)') AS topic, topic_partition,
            coalesce(o.stored, 0) AS stored, coalesce(o.quarantined, 0) AS quarantined,
            coalesce(r.rows, 0) AS raw_rows, coalesce(q.rows, 0) AS quarantine_rows
        FROM sales.stream_offsets o
        FULL JOIN stored r USING (stream_id, topic_partition)
        FULL JOIN quarantined q USING (stream_id, topic_partition)
        LEFT JOIN sales.streams s USING (stream_id)
        WHERE coalesce(o.stored, 0) <> coalesce(r.rows, 0)
            OR coalesce(o.quarantined, 0) <> coalesce(q.rows, 0)
        """
    )
    return [
        "{topic}[{topic_partition}]: the ledger has {stored} stored and {quarantined} "
        "quarantined, the tables {raw_rows} and {quarantine_rows}".format(**row)
        for row in rows
    ]


def ledger_totals(transaction: Transaction) -> dict[str, int]:
    """Count the stored events, the quarantined events and their total, over all streams."""
    (row,) = transaction.rows(
        """
        SELECT coalesce(sum(stored), 0)::int8 AS stored,
            coalesce(sum(quarantined), 0)::int8 AS quarantined,
            coalesce(sum(stored + quarantined), 0)::int8 AS taken
        FROM sales.stream_offsets
        """
    )
    return row


def model_periods(transaction: Transaction) -> list[dict[str, Any]]:
    """Return the newest days that the store models of each period have seen.

    Returns:
        Rows with period_start, stores (count), trained_until, pooled_until (the newest day that
        their pooled models have seen) and later_pooled (whether a pooled model has seen a later day
        than a store model that was shrunk to it).
    """
    return transaction.rows(
        """
        SELECT m.period_start, count(*) AS stores, max(m.trained_until) AS trained_until,
            max(p.trained_until) AS pooled_until,
            bool_or(coalesce(p.trained_until > m.trained_until, false)) AS later_pooled
        FROM sales.models m LEFT JOIN sales.pooled_models p ON p.version = m.pooled_version
        GROUP BY m.period_start ORDER BY m.period_start
        """
    )


def stores_behind(transaction: Transaction) -> tuple[date | None, list[dict[str, Any]]]:
    """Return the newest origin of the current forecasts, and the stores with an earlier origin."""
    rows = transaction.rows(
        """
        SELECT store, max(origin) AS origin FROM sales.current_forecasts
        WHERE horizon = 1 GROUP BY store ORDER BY store
        """
    )
    if not rows:
        return None, []
    newest = max(row["origin"] for row in rows)
    return newest, [row for row in rows if row["origin"] < newest]
