"""Which partition cells lack what an asset is made from, although the store sold something.

A cell without sales (a store that was closed, or has not opened) lacks nothing, nor does one whose
days have not come yet. What an asset does
about cells that lack something is in `forecast_assets/defs/upstream.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from warehouse import sales
from warehouse.connection import Transaction


class Need(NamedTuple):
    """What must exist of a store's days for an asset to be computed.

    Attributes:
        store: The store.
        first_day: The first of the days.
        last_day: The last of the days.
    """

    store: int
    first_day: date
    last_day: date


#: Asset -> the condition under which it exists for a store and some of the days of a need `n`.
_EXISTS = {
    "cleaned_sales": (
        "SELECT FROM sales.cleaned_sales u "
        "WHERE u.store = n.store AND u.date BETWEEN n.first_day AND n.last_day"
    ),
    "features": (
        "SELECT FROM sales.features u "
        "WHERE u.store = n.store AND u.date BETWEEN n.first_day AND n.last_day"
    ),
    # A model belongs to a period, and a need's first day is the period's.
    "store_models": (
        "SELECT FROM sales.models u WHERE u.store = n.store AND u.period_start = n.first_day"
    ),
    "forecasts": (
        "SELECT FROM sales.forecasts u "
        "WHERE u.store = n.store AND u.origin BETWEEN n.first_day AND n.last_day"
    ),
}


def unmet(transaction: Transaction, asset: str, needs: Sequence[Need]) -> dict[Need, date]:
    """Return the needs that an asset does not meet, although there are events with sales.

    Args:
        transaction: The open transaction.
        asset: `cleaned_sales`, `features`, `store_models` or `forecasts`.
        needs: The stores and days to look at.

    Returns:
        Need -> the newest of its days on which the store's sales are known.
    """
    if not needs:
        return {}
    rows = transaction.rows(
        f"""
        WITH needs AS MATERIALIZED (
            SELECT * FROM unnest($1::int4[], $2::date[], $3::date[]) AS n
                (store, first_day, last_day)
        ), lacking AS MATERIALIZED (
            SELECT * FROM needs n
            WHERE NOT EXISTS (SELECT FROM LATERAL ({_EXISTS[asset]} LIMIT 1) AS found)
        )
        SELECT l.store, l.first_day, l.last_day, max(r.date) AS newest
        FROM lacking l
        JOIN sales.raw_sales r ON r.store = l.store AND r.date BETWEEN l.first_day AND l.last_day
        WHERE r.sales IS NOT NULL AND r.date BETWEEN $4 AND $5
        GROUP BY l.store, l.first_day, l.last_day
        ORDER BY l.last_day, l.store
        """,
        (
            [need.store for need in needs],
            [need.first_day for need in needs],
            [need.last_day for need in needs],
            min(need.first_day for need in needs),
            min(max(need.last_day for need in needs), sales.today()),
        ),
    )
    return {Need(row["store"], row["first_day"], row["last_day"]): row["newest"] for row in rows}


def has_sales_without_features(transaction: Transaction, first_day: date, last_day: date) -> bool:
    """Return whether some days hold events with sales, but no store has features of any of them."""
    return bool(
        transaction.value(
            """
            SELECT NOT EXISTS (SELECT FROM sales.features WHERE date BETWEEN $1 AND $2)
                AND EXISTS (
                    SELECT FROM sales.raw_sales WHERE date BETWEEN $1 AND $2 AND sales IS NOT NULL)
            """,
            (first_day, min(last_day, sales.today())),
        )
    )
