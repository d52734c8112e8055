"""Which partition cells a run computes: those that someone requested, or a refresh's changes.

The value itself is in `planning/scope.py`; `run_state.py` keeps a refresh's scope for its assets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from forecast_assets.defs.partitions import covered_days, parse_partition_keys
from forecast_assets.planning.partition_cells import (
    ALL_DAYS,
    StorePeriods,
    cells_since,
    merge,
    shift,
    within,
)
from forecast_assets.planning.scope import REFRESH_TAG, Scope
from forecast_assets.settings import settings
from forecast_assets.steps.changed_days import merge_earliest

if TYPE_CHECKING:
    from forecast_assets.defs.resources import OnlyDaysResource
    from warehouse.connection import Transaction


def agree_on_calendar(transaction: Transaction) -> None:
    """Refuse settings whose calendar contradicts what is stored, before anything is computed.

    If other settings than those in force changed what is stored, it becomes stale.

    Raises:
        dg.Failure: The stored models have periods of another grain.
    """
    from warehouse import calendar
    from warehouse.errors import CalendarError

    config = settings()
    first_day = config.calendar.start_of(config.calendar_start)
    last_day = None
    if config.calendar_end is not None:
        last_day = config.calendar.end_of(config.calendar.start_of(config.calendar_end))
    computation = calendar.Computation(config.unusual_factor, config.horizon, config.error_measure)
    try:
        calendar.agree(transaction, config.date_grain, first_day, last_day, computation)
    except CalendarError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def refresh_id_of(context: dg.AssetExecutionContext) -> str | None:
    """Return the run's id if it is a refresh; None if someone requested partitions."""
    return context.run.run_id if REFRESH_TAG in context.run.tags else None


def requested_scope(context: dg.AssetExecutionContext, only_days: OnlyDaysResource) -> Scope:
    """Return the cells of the partitions that someone requested.

    Raises:
        dg.Failure: The range contains no partition, or no day that `only_days` allows.
    """
    days, calendar = only_days.span(), settings().calendar
    requested, foreign = parse_partition_keys(context.partition_keys)
    if foreign:
        context.log.warning(f"partitions that name no store are ignored: {', '.join(foreign)}")
    if not requested:
        raise dg.Failure(
            "the run's partition range is empty: its end is before its start, by month or in the "
            "order of stores, or its keys name no store. Swap them, or choose other partitions",
            allow_retries=False,
        )
    cells = within(requested, calendar, days)
    if not cells:
        raise dg.Failure(
            f"only_days: the run's partitions, {min(requested)} to "
            f"{calendar.end_of(max(requested))}, hold no day from {days[0]} to {days[1]}. Choose "
            "days inside the partitions, or other partitions",
            allow_retries=False,
        )
    last = calendar.end_of(max(cells))
    if days != ALL_DAYS and last < days[1] < ALL_DAYS[1]:
        context.log.warning(
            f"only_days: {days[1]} is after this run's partitions; using {last} instead"
        )
    return Scope(None, cells, cells, cells, calendar, days=days)


def claim_scope(transaction: Transaction, refresh_id: str) -> Scope:
    """Claim the open changes for a refresh and return the cells that they make stale.

    Sales: from each store's earliest changed day to its newest, or to the newest one that was
    cleaned before its sales were withdrawn. Features: also the days before that look ahead to it.
    Models and forecasts: the newest period, and each older period that was computed and saw a
    changed day. Before the first training there are no models to refresh; that training makes every
    store's models stale. What the refresh finds on its way may add cells: see `with_differences`.
    """
    from forecasting.features.daily import LOOKAHEAD_DAYS
    from warehouse import changes, forecasts, models, sales

    calendar, covered = settings().calendar, covered_days()
    claimed = changes.take(transaction, refresh_id)
    first_days = claimed.data_first_days
    touched = sorted({*first_days, *claimed.model_stores})
    newest = sales.newest_days(transaction, "raw_sales", touched, covered[1])
    cleaned = sales.newest_days(transaction, "cleaned_sales", touched, covered[1])
    last_days = {
        store: max(newest.get(store, date.min), cleaned.get(store, date.min))
        for store in newest.keys() | cleaned.keys()
    }
    current: StorePeriods = {}
    if models.count_pooled(transaction):
        for store in touched:
            if newest.get(store, date.min) >= covered[0]:
                current.setdefault(calendar.start_of(newest[store]), []).append(store)
    looking_ahead = shift(first_days, -timedelta(days=LOOKAHEAD_DAYS))
    return Scope(
        refresh_id,
        data=cells_since(first_days, last_days, calendar, covered),
        features=cells_since(looking_ahead, last_days, calendar, covered),
        models=merge(
            current, within(models.modelled_cells(transaction, first_days), calendar, covered)
        ),
        calendar=calendar,
        first_days=first_days,
        first_plan_days=claimed.plan_first_days,
        backtested=forecasts.backtest_origins(transaction, shift(first_days, -plan_context())),
        suspects=claimed.suspects,
    )


def with_differences(
    transaction: Transaction,
    scope: Scope,
    feature_days: Mapping[int, date],
    plan_days: Mapping[int, date],
) -> Scope:
    """Return a refresh's scope with the cells of models and backtests that turned out to be stale.

    Args:
        transaction: The open transaction.
        scope: What the refresh claimed.
        feature_days: Store -> the first day before its changed days whose features differ.
        plan_days: Store -> the first day whose plan differs.
    """
    from warehouse import models

    first_days, first_plan_days = dict(scope.first_days), dict(scope.first_plan_days)
    merge_earliest(first_days, feature_days)
    merge_earliest(first_plan_days, plan_days)
    widened = replace(scope, first_days=first_days, first_plan_days=first_plan_days)
    modelled = models.modelled_cells(transaction, dict(feature_days)) if feature_days else {}
    found = merge(modelled, widened.backtests_to_renew(plan_context()))
    return replace(
        widened, models=merge(scope.models, within(found, scope.calendar, covered_days()))
    )


def plan_context() -> timedelta:
    """Return how long after its origin a forecast looks at the plan."""
    from forecasting.features.daily import LOOKAHEAD_DAYS

    return timedelta(days=settings().horizon + LOOKAHEAD_DAYS)
