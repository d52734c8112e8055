"""Reads how good forecasts were."""

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from forecast_service.state import State
from forecasting.evaluation.accuracy import (
    COVERAGE_80_TOLERANCE,
    COVERAGE_95_TOLERANCE,
    MIN_DAYS,
    RECENT_DAYS,
    Accuracy,
)
from warehouse.errors import NotFoundError
from warehouse.service import accuracy as statements

#: Most stores whose forecasts are compared with the seasonal naive in one request.
MAX_NAIVE_STORES = 50
#: The name of the row that sums up all planners and reasons.
EVERYTHING = "all"


async def by_lead(state: State, stores: Sequence[int], days: int) -> dict[str, Any]:
    """Return measures over the newest scored days by week of lead time.

    Raises:
        NotFoundError: No forecast of these stores has met its day.
    """
    asked = list(stores) or None
    newest = await state.database.row(statements.NEWEST, (asked,))
    if newest is None:
        raise NotFoundError(
            "no forecast of these stores has met its day yet: the first is scored when the sales "
            "of a day after its origin arrive"
        )
    kind, last = newest["kind"], newest["last_day"]
    first = last - timedelta(days=days - 1)
    rows = await state.database.rows(statements.BY_LEAD, (kind, asked, first, last))
    naive: dict[int, dict[str, Any]] = {}
    if asked is not None and len(asked) <= MAX_NAIVE_STORES:
        naive = {
            row["lead_week"]: row
            for row in await state.database.rows(
                statements.NAIVE_BY_LEAD, (kind, asked, first, last)
            )
        }
    return {
        "kind": kind,
        "first_day": first,
        "last_day": last,
        "items": [_measures(row, naive.get(row["lead_week"])) for row in rows],
    }


async def coverage(state: State) -> dict[str, Any]:
    """Return whether the ranges of single stores' days held what they promise, lately.

    Returns:
        kind, first_day, last_day, days (distinct), shares (80 and 95 -> share of days inside, None
        if nothing was sold) and kept (the same -> whether that is usual; None for too few days).

    Raises:
        NotFoundError: No forecast has met its day.
    """
    newest = await state.database.row(statements.NEWEST, (None,))
    if newest is None:
        raise NotFoundError("no forecast has met its day yet")
    last = newest["last_day"]
    first = last - timedelta(days=RECENT_DAYS - 1)
    rows = await state.database.rows(statements.BY_LEAD, (newest["kind"], None, first, last))
    measured, days = Accuracy.of(rows), max(row["days"] for row in rows)
    shares = {80: _finite(measured.coverage_80), 95: _finite(measured.coverage_95)}
    bounds = {80: COVERAGE_80_TOLERANCE, 95: COVERAGE_95_TOLERANCE}
    return {
        "kind": newest["kind"],
        "first_day": first,
        "last_day": last,
        "days": days,
        "shares": shares,
        "kept": {
            level: None
            if share is None or days < MIN_DAYS
            else abs(share - level / 100) <= bounds[level]
            for level, share in shares.items()
        },
    }


async def value_added(
    state: State, stores: Sequence[int], author: str | None, first: date, last: date
) -> dict[str, Any]:
    """Return forecast value added by planner and reason."""
    rows = await state.database.rows(
        statements.VALUE_ADDED, (list(stores) or None, author, first, last)
    )
    sums = ("days", "sales", "naive_error", "model_error", "adjusted_error")
    total = {name: sum(row[name] for row in rows) for name in sums}
    total |= {"author": EVERYTHING, "reason": EVERYTHING}
    return {
        "items": [_value_added(row) for row in rows],
        "total": _value_added(total) if rows else None,
    }


def _measures(row: Mapping[str, Any], naive: Mapping[str, Any] | None) -> dict[str, Any]:
    measured = Accuracy.of([row])
    return {
        "lead_week": row["lead_week"],
        "days": row["days"],
        "forecasts": measured.forecasts,
        **{
            name: _finite(getattr(measured, name))
            for name in ("rmspe", "wape", "bias", "coverage_80", "coverage_95")
        },
        "naive_rmspe": _root_mean(naive) if naive else None,
        "naive_wape": _ratio(naive["absolute_error"], naive["sales"]) if naive else None,
    }


def _value_added(row: Mapping[str, Any]) -> dict[str, Any]:
    naive, model, adjusted = (
        _ratio(row[f"{name}_error"], row["sales"]) for name in ("naive", "model", "adjusted")
    )
    return {
        "author": row["author"],
        "reason": row["reason"],
        "days": row["days"],
        "naive_wape": naive,
        "model_wape": model,
        "adjusted_wape": adjusted,
        "value_added": model - adjusted if model is not None and adjusted is not None else None,
    }


def _root_mean(naive: Mapping[str, Any]) -> float | None:
    mean = _ratio(naive["squared_percent_error"], naive["sold"])
    return None if mean is None else math.sqrt(mean)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
