"""Computes what-ifs."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from forecast_service.forecasts.service import known_stores
from forecast_service.problems import invalid
from forecast_service.scenarios.schemas import PlanRequest
from forecast_service.state import State
from warehouse import scenarios
from warehouse.connection import Transaction

MEANING = (
    "What the model expects under this plan, from how such days went before. It is no promise "
    "that the change causes the difference."
)
_NUMBERS = ("open", "point", "mean", "q0_025", "q0_1", "q0_5", "q0_9", "q0_975")


async def scenario(state: State, asked: PlanRequest) -> dict[str, Any]:
    """Return the forecast under a changed plan beside the one in force.

    Raises:
        NotFoundError: A store has no forecast yet, or does not exist.
        ServiceError: A day lies outside the horizon.
    """
    await known_stores(state, sorted({change.store for change in asked.changes}))
    return await state.database.compute(lambda transaction: _compute(transaction, state, asked))


async def plan_in_force(state: State, stores: Sequence[int]) -> list[dict[str, Any]]:
    """Return the plan that stores' forecasts in force were made with, by store and date.

    Raises:
        NotFoundError: A store has no forecast yet, or does not exist.
    """
    known = await known_stores(state, stores)

    def read(transaction: Transaction) -> list[dict[str, Any]]:
        _, plan = scenarios.plans_in_force(transaction, known, state.settings.horizon)
        rows = plan.sort_values(["store", "date"]).to_dict("records")
        return [
            {str(name): value for name, value in row.items()} | {"date": row["date"].date()}
            for row in rows
        ]

    return await state.database.compute(read)


def plan_of(transaction: Transaction, state: State, asked: PlanRequest) -> scenarios.ChangedPlan:
    """Return the changed plan that a request means.

    Raises:
        NotFoundError: A store has no forecast yet, or does not exist.
        ServiceError: A day lies outside the horizon.
    """
    changes = [
        scenarios.PlanChange(
            change.store, change.first_day, change.last_day or change.first_day, change.fields()
        )
        for change in asked.changes
    ]
    plan = scenarios.changed_plan(transaction, changes, state.settings.horizon)
    for store, (first, last) in plan.outside.items():
        raise invalid(
            "body.changes",
            f"the forecast of store {store} covers {first} to {last}: choose days inside",
            ge=str(first),
            le=str(last),
        )
    return plan


def _compute(transaction: Transaction, state: State, asked: PlanRequest) -> dict[str, Any]:
    plan = plan_of(transaction, state, asked)
    settings = state.settings
    rows = scenarios.forecasts(transaction, plan, settings.horizon, settings.error_measure)
    ranges = scenarios.horizon_ranges(transaction, rows)
    changed = set(plan.rows[["store", "date"]].itertuples(index=False, name=None))
    days = [
        {
            "store": row["store"],
            "date": row["date"].date(),
            "changed": (row["store"], row["date"]) in changed,
            "scenario": {name: row[name] for name in _NUMBERS},
            "current": {name: row[f"{name}_current"] for name in _NUMBERS},
        }
        for row in rows.to_dict("records")
    ]
    return {
        "meaning": MEANING,
        "stores": [
            _totals(store, group) | ranges[int(str(store))]
            for store, group in rows.groupby("store")
        ],
        "days": days,
        "unseen": [
            day | {"date": day["date"].date()} for day in scenarios.unseen_kinds(transaction, plan)
        ],
    }


def _totals(store: Any, rows: pd.DataFrame) -> dict[str, Any]:
    current, changed = float(rows["mean_current"].sum()), float(rows["mean"].sum())
    version = rows["model_version"].iloc[0]
    return {
        "store": int(store),
        "origin": rows["origin"].iloc[0].date(),
        "model_version": version if isinstance(version, str) else None,
        "current": current,
        "scenario": changed,
        "difference": changed - current,
    }
