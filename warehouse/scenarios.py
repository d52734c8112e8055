"""What-ifs: the forecast under a changed plan, beside the one in force; nothing is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from forecasting.calibration import ErrorMeasure
from forecasting.columns import PLAN_COLUMNS, QUANTILE_COLUMNS, quantile_column
from forecasting.features.plans import complete_plan
from forecasting.models.dependence import Dependence
from forecasting.models.paths import sample_paths
from forecasting.models.pooled import PooledModel
from warehouse import forecaster, models, sales
from warehouse.connection import Transaction
from warehouse.errors import NotYetError
from warehouse.in_force import NOTHING_YET
from warehouse.service import plans as statements

#: What a plan row holds besides store and date, with the weekday that models read.
_PLAN = ("day_of_week", *PLAN_COLUMNS)
_CURRENT_QUANTILES = [f"{name}_current" for name in QUANTILE_COLUMNS]
_KIND = ["store", "day_of_week", "promo", "state_holiday", "school_holiday"]


@dataclass(frozen=True)
class PlanChange:
    """Changed fields of the plan of some days of a store.

    Attributes:
        store: The store.
        first: First day.
        last: Last day.
        fields: Column of the plan (`open`, `promo`, `state_holiday`, `school_holiday`) -> value.
    """

    store: int
    first: date
    last: date
    fields: Mapping[str, int | str]


@dataclass(frozen=True)
class ChangedPlan:
    """The plan of stores' horizons with changes.

    Attributes:
        origins: Store -> the origin of its forecast in force.
        rows: Store, date, day_of_week and `PLAN_COLUMNS` of the days whose plan differs.
        outside: Store -> its horizon, for the stores of changes that reach outside it.
    """

    origins: dict[int, date]
    rows: pd.DataFrame
    outside: dict[int, tuple[date, date]]


def plans_in_force(
    transaction: Transaction, stores: Sequence[int], horizon: int
) -> tuple[dict[int, date], pd.DataFrame]:
    """Return the plan that stores' forecasts in force were made with, as it is known now.

    Returns:
        Store -> the origin of its forecast, and one row per store and day of the horizon with
        store, date, day_of_week and `PLAN_COLUMNS`; days without a plan have the usual one.

    Raises:
        NotYetError: A store has no forecast yet.
    """
    known = transaction.rows(statements.ORIGINS, (list(stores),))
    origins = {row["store"]: row["origin"] for row in known}
    missing = sorted(set(stores) - set(origins))
    if missing:
        raise NotYetError(f"store {missing[0]}: {NOTHING_YET}")
    plans = []
    for origin in sorted(set(origins.values())):
        group = [store for store in stores if origins[store] == origin]
        past, planned = sales.known_at(transaction, group, origin, horizon)
        same = pd.Series(pd.Timestamp(origin), index=pd.Index(group, name="store"))
        plans.append(complete_plan(past, planned, same, horizon))
    return origins, pd.concat(plans, ignore_index=True)[["store", "date", *_PLAN]]


def changed_plan(
    transaction: Transaction, changes: Sequence[PlanChange], horizon: int
) -> ChangedPlan:
    """Apply changes to the plan that stores' forecasts in force were made with.

    Args:
        transaction: The open transaction of a role that may read.
        changes: The changes; later ones win.
        horizon: Days ahead.

    Raises:
        NotYetError: A store has no forecast yet.
    """
    origins, plan = plans_in_force(
        transaction, sorted({change.store for change in changes}), horizon
    )
    before, outside = plan.copy(), {}
    for change in changes:
        days = pd.date_range(change.first, change.last)
        chosen = (plan["store"] == change.store) & plan["date"].isin(days)
        if chosen.sum() < len(days):
            horizon_days = plan.loc[plan["store"] == change.store, "date"]
            outside[change.store] = (horizon_days.min().date(), horizon_days.max().date())
        for column, value in change.fields.items():
            plan.loc[chosen, column] = value
    differs = (plan[list(_PLAN)] != before[list(_PLAN)]).any(axis=1)
    return ChangedPlan(origins, plan[differs].reset_index(drop=True), outside)


def forecasts(
    transaction: Transaction, plan: ChangedPlan, horizon: int, error_measure: ErrorMeasure
) -> pd.DataFrame:
    """Forecast under a changed plan.

    Returns:
        The frame of `forecaster.forecast`, each column with its twin of the forecast in force,
        which ends in `_current`; by store and date.
    """
    parts = []
    for origin in sorted(set(plan.origins.values())):
        group = [store for store, own in plan.origins.items() if own == origin]
        rows = plan.rows[plan.rows["store"].isin(group)]
        parts.append(
            forecaster.forecast(
                transaction,
                group,
                origin,
                None if rows.empty else rows,
                horizon=horizon,
                error_measure=error_measure,
            )
        )
    current = transaction.frame(statements.IN_FORCE, (sorted(plan.origins),))
    both = pd.concat(parts, ignore_index=True).merge(
        current, on=["store", "date"], suffixes=("", "_current")
    )
    return both.sort_values(["store", "date"], ignore_index=True)


def horizon_ranges(transaction: Transaction, rows: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Return the 80 % ranges of stores' totals over the horizon, and of the plans' difference.

    Both plans have the same possible futures (`forecasting/models/paths.py`): what errs today errs
    alike under either, so the difference is surer than the totals. How well the model knows an
    effect is not part of it.

    Args:
        transaction: The open transaction of a role that may read.
        rows: The frame of `forecasts`.

    Returns:
        Store -> `current_q0_1`, `current_q0_9`, and the same of `scenario` and `difference`.
    """
    ranges = {}
    for store, group in rows.groupby("store"):
        version = group["model_version"].iloc[0]
        pooled = models.pooled(transaction, version) if isinstance(version, str) else None
        dependence = (
            PooledModel.from_bytes(pooled.model).dependence if pooled else Dependence.default()
        )
        names = ["store", "origin", "date", *QUANTILE_COLUMNS]
        before = group[["store", "origin_current", "date", *_CURRENT_QUANTILES]]
        sums = {
            side: sum(
                paths.sum(axis=0, dtype=float) for _, paths in sample_paths(frame, dependence)
            )
            for side, frame in (
                ("current", before.set_axis(names, axis=1)),
                ("scenario", group[names]),
            )
        }
        sums["difference"] = sums["scenario"] - sums["current"]
        ranges[int(str(store))] = {
            f"{side}_{quantile_column(level)}": float(np.quantile(total, level))
            for side, total in sums.items()
            for level in (0.1, 0.9)
        }
    return ranges


def unseen_kinds(transaction: Transaction, plan: ChangedPlan) -> list[dict[str, Any]]:
    """Return the changed open days whose kind the store has never had.

    A kind is weekday, promo, state holiday and school holiday. The model has learned nothing of
    such a day in its store, only of what is alike.
    """
    opened = plan.rows[plan.rows["open"] == 1]
    if opened.empty:
        return []
    seen = transaction.frame(statements.SEEN_KINDS, (sorted(plan.origins),))
    known = set(seen[_KIND].itertuples(index=False, name=None))
    unseen = [
        row
        for row in opened[["date", *_KIND]].to_dict("records")
        if tuple(row[name] for name in _KIND) not in known
    ]
    return [{str(name): value for name, value in row.items()} for row in unseen]
