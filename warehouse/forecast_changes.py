"""What changed between two issued forecasts of a store, split into plan, sales and model.

Both forecasts are stored; two more are computed in between, each with one cause added. So the three
parts of a day always add up to the day's change. Nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from forecasting.calibration import ErrorMeasure
from forecasting.models.model_format import MODEL_FORMAT
from warehouse import forecaster, lineage, models
from warehouse.connection import Transaction
from warehouse.errors import NotFoundError

# Each store's issues are looked up newest first: there is one for every day that it has been known.
_PAIRS = """
pairs AS MATERIALIZED (
    SELECT s.store, c.origin, c.refresh_id, c.model_version, e.origin AS earlier_origin,
        e.refresh_id AS earlier_refresh_id, e.model_version AS earlier_version
    FROM unnest($1::int4[]) AS s (store)
    CROSS JOIN LATERAL (
        SELECT f.origin, f.refresh_id, f.model_version FROM sales.forecasts_issued f
        WHERE f.store = s.store AND f.horizon = 1
            AND NOT sales.is_void(f.store, f.origin, f.written_at)
        ORDER BY f.origin DESC, f.written_at DESC LIMIT 1
    ) AS c
    CROSS JOIN LATERAL (
        SELECT f.origin, f.refresh_id, f.model_version FROM sales.forecasts_issued f
        WHERE f.store = s.store AND f.horizon = 1 AND f.origin <= c.origin - $2::int4
            AND NOT sales.is_void(f.store, f.origin, f.written_at)
        ORDER BY f.origin DESC, f.written_at DESC LIMIT 1
    ) AS e
)
"""

_TWO_ISSUES = f"WITH {_PAIRS} SELECT * FROM pairs ORDER BY store"

_SUM = """
    SELECT sum(f.mean) AS mean FROM sales.forecasts_issued f
    WHERE f.store = p.store AND f.origin = p.{origin} AND f.refresh_id = p.{refresh_id}
        AND f.horizon > p.origin - f.origin AND f.horizon <= p.earlier_origin + $4::int4 - f.origin
"""

# Days are compared by horizon: a span of dates would be read by the index on dates, of all origins.
_LARGEST = f"""
WITH {_PAIRS}
SELECT p.store, p.origin, p.earlier_origin, p.earlier_origin + $4::int4 AS last_day,
    before.mean AS before, after.mean AS after, after.mean - before.mean AS change
FROM pairs p
CROSS JOIN LATERAL ({_SUM.format(origin="origin", refresh_id="refresh_id")}) AS after
CROSS JOIN LATERAL (
    {_SUM.format(origin="earlier_origin", refresh_id="earlier_refresh_id")}
) AS before
WHERE after.mean IS NOT NULL AND before.mean IS NOT NULL
ORDER BY abs(after.mean - before.mean) DESC, p.store LIMIT $3::int8
"""

_BOTH = """
SELECT c.store, c.date, c.horizon, c.point AS after, e.point AS before
FROM unnest($1::int4[], $2::date[], $3::text[], $4::date[], $5::text[])
    AS p (store, origin, refresh_id, earlier_origin, earlier_refresh_id)
JOIN sales.forecasts_issued c
    ON c.store = p.store AND c.origin = p.origin AND c.refresh_id = p.refresh_id
JOIN sales.forecasts_issued e ON e.store = p.store AND e.origin = p.earlier_origin
    AND e.refresh_id = p.earlier_refresh_id AND e.date = c.date
ORDER BY c.store, c.date
"""


@dataclass(frozen=True)
class Split:
    """Which causes to compute the change by.

    Attributes:
        horizon: Days ahead that forecasts reach.
        error_measure: The error measure that `point` minimizes.
    """

    horizon: int
    error_measure: ErrorMeasure


def changes(
    transaction: Transaction, stores: Sequence[int], min_days: int, split: Split | None
) -> list[dict[str, Any]]:
    """Compare stores' forecasts in force with those from an earlier origin.

    Args:
        transaction: The open transaction of a role that may read.
        stores: The stores; one without an earlier forecast is left out.
        min_days: How many days the earlier origin lies before the current one, at least.
        split: How to compute the causes; None compares without them, which is fast.

    Returns:
        One row per store, the largest change first: store, origin, earlier_origin, model_version,
        earlier_version, before, after, change, plan, sales, model (sums of `point` over the days
        that both cover; the causes are None without a split), and days (the same for each day).

    Raises:
        NotFoundError: None of the stores has two forecasts that far apart.
    """
    pairs = transaction.rows(_TWO_ISSUES, (list(stores), min_days))
    if not pairs:
        raise NotFoundError(
            f"no forecast from an origin {min_days} days or more before the current one: ask for "
            "a smaller `days`, or come back after the next refresh"
        )
    columns = ("store", "origin", "refresh_id", "earlier_origin", "earlier_refresh_id")
    both = transaction.frame(_BOTH, [[pair[name] for pair in pairs] for name in columns])
    by_store = dict(iter(both.groupby("store")))
    result = []
    for pair in pairs:
        if pair["store"] not in by_store:
            continue
        days = by_store[pair["store"]].drop(columns="store")
        causes = _causes(transaction, pair, days, split) if split else None
        result.append(_summary(pair, days, causes))
    return sorted(result, key=lambda row: -abs(row["change"]))


def largest(
    transaction: Transaction, stores: Sequence[int], min_days: int, limit: int, horizon: int
) -> list[dict[str, Any]]:
    """Return the largest changes of expected sales; cheap for a whole chain.

    Args:
        transaction: The open transaction of a role that may read.
        stores: The stores; one without an earlier forecast is left out.
        min_days: How many days the earlier origin lies before the current one, at least.
        limit: Most stores.
        horizon: Days ahead that forecasts reach.

    Returns:
        One row per store, the largest change first: store, origin, earlier_origin, last_day, and
        before, after and change (sums of `mean` over the days that both cover).
    """
    return transaction.rows(_LARGEST, (list(stores), min_days, limit, horizon))


def _causes(
    transaction: Transaction, pair: dict[str, Any], days: pd.DataFrame, split: Split
) -> pd.DataFrame | None:
    """Return plan, sales and model of each day; None if the old model cannot be read any more."""
    old = models.pooled(transaction, pair["earlier_version"]) if pair["earlier_version"] else None
    if old is not None and old.format != MODEL_FORMAT:
        return None

    def at(origin: date) -> pd.Series:
        row = {"store": pair["store"], "origin": origin, "kind": "issued"}
        fitted, _ = lineage.store_model(
            transaction, row | {"model_version": pair["earlier_version"]}, old
        )
        read = forecaster.Forecaster.read(transaction, fitted, origin, horizon=split.horizon)
        rows = read.forecast(split.error_measure).set_index("date")["point"]
        return rows.reindex(pd.DatetimeIndex(days["date"]))

    before, after = days["before"].to_numpy(), days["after"].to_numpy()
    new_plan = at(pair["earlier_origin"]).to_numpy()
    same_model = pair["model_version"] == pair["earlier_version"]
    new_sales = after if same_model else at(pair["origin"]).to_numpy()
    return pd.DataFrame(
        {"plan": new_plan - before, "sales": new_sales - new_plan, "model": after - new_sales},
        index=days.index,
    )


def _summary(
    pair: dict[str, Any], days: pd.DataFrame, causes: pd.DataFrame | None
) -> dict[str, Any]:
    names = ("plan", "sales", "model")
    days = days.assign(change=days["after"] - days["before"])
    if causes is not None:
        days = days.join(causes)
    sums = days.drop(columns=["date", "horizon"]).sum()
    listed = days.assign(date=days["date"].dt.date).to_dict("records")
    unknown: dict[str, Any] = {} if causes is not None else dict.fromkeys(names)
    return {
        **{name: pair[name] for name in ("store", "origin", "earlier_origin", "model_version")},
        "earlier_version": pair["earlier_version"],
        **{str(name): float(value) for name, value in sums.items()},
        **unknown,
        "days": [{str(name): value for name, value in (day | unknown).items()} for day in listed],
    }
