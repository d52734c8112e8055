"""`forecast_accuracy`: forecasts against what happened, as soon as it is known."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    described,
    finish,
    timed,
)
from forecast_assets.defs.jobs import REFRESHED
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, sum_up
from forecast_assets.defs.resources import OnlyDaysResource, WarehouseResource
from forecast_assets.defs.scope import asked_for, refresh_of
from forecast_assets.planning.partition_cells import Cells

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.evaluation.accuracy import Verdict
    from warehouse.connection import Transaction

CHECK = "coverage_and_bias"
LOCK = "forecast_accuracy"


@dg.asset(
    **STORE_LEVEL,
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="forecast_accuracy",
            description="The last weeks' intervals held what they promise, and totals came true.",
        )
    ],
    group_name="forecasts",
    deps=["forecasts", "cleaned_sales"],
    metadata=described("forecast_accuracy"),
    kinds={"postgres"},
    description=(
        "How good forecasts have turned out, by lead time. A refresh holds the days that arrived "
        "or were corrected against all that had been forecast for them; materializing a past "
        "partition scores its backtest, as far as the days that it forecast are known."
    ),
)
def forecast_accuracy(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, only_days: OnlyDaysResource
) -> Events:
    """Scores what became known, or the backtests of the run's partitions."""
    refresh_id = refresh_of(context)
    materialized: Materialized = {}
    with timed(refresh_id, context, warehouse):
        if refresh_id is None:
            materialized = _score_backtests(asked_for(context, only_days).models, warehouse)
        with warehouse.transaction() as transaction:
            if refresh_id is not None:
                materialized = _score_refreshes(transaction)
            verdict = _verdict(transaction)
    found = dg.AssetCheckResult(
        check_name=CHECK,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=verdict.words,
        metadata={"by_lead_time": dg.MetadataValue.md(verdict.table)},
    )
    yield from finish(context, materialized, [found])
    # A refresh's last step: its forecasts are there, nobody waits for it.
    sum_up(context, REFRESHED)


def _verdict(transaction: "Transaction") -> "Verdict":
    """What the newest scored days say together."""
    from forecasting.evaluation.accuracy import RECENT_DAYS, judge
    from warehouse import accuracy as table

    newest = table.newest_day(transaction)
    if newest is None:
        return judge([])
    return judge(table.by_lead_week(transaction, newest - timedelta(days=RECENT_DAYS - 1)))


def _score_refreshes(transaction: "Transaction") -> Materialized:
    """Scores what finished refreshes took and nobody has scored: this one's, or a killed one's."""
    from warehouse import accuracy as table
    from warehouse import changes

    transaction.lock(LOCK)
    refreshes = changes.unscored(transaction)
    first_days = changes.first_days(transaction, refreshes)
    scored = table.replace_days(transaction, first_days) if first_days else None
    changes.note_scored(transaction, refreshes)
    return {} if scored is None else _metadata(scored, "date")


def _score_backtests(cells: Cells, warehouse: WarehouseResource) -> Materialized:
    """Scores the backtests from origins in partitions."""
    from forecast_assets.planning.partition_cells import chunks
    from forecast_assets.settings import settings
    from warehouse import accuracy as table

    materialized: Materialized = {
        partition_key(period, store): {ROW_COUNT: 0}
        for period, stores in cells.items()
        for store in stores
    }
    # A partition has one backtest: its former origins' scores go, whichever day is the new one.
    for chunk in chunks(cells, settings().date_grain):
        with warehouse.transaction() as transaction:
            transaction.lock(LOCK)
            scored = table.replace_backtests(
                transaction, chunk.stores, chunk.first_day, chunk.last_day
            )
        materialized |= _metadata(scored, "origin")
    return materialized


def _metadata(scored: "pd.DataFrame", day: str) -> Materialized:
    """The measures of each partition: the period that holds a row's day, and its store."""
    from forecast_assets.planning.calendar import period_start
    from forecast_assets.settings import settings
    from forecasting.evaluation.accuracy import Accuracy

    grain = settings().date_grain
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in cast("list[dict[str, Any]]", scored.to_dict("records")):
        key = partition_key(period_start(row[day].date(), grain), int(row["store"]))
        parts.setdefault(key, []).append(row)
    found: Materialized = {}
    for key, rows in parts.items():
        measured = Accuracy.of(rows)
        found[key] = {
            ROW_COUNT: int(sum(row["rows"] for row in rows)),
            "forecasts": measured.forecasts,
            **measured.measures(),
        }
    return found
