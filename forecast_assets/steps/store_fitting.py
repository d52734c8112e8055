"""Fitting the store models of a period: which stores are due, and up to which day.

The asset `store_models` runs this. The fit itself is in `warehouse/forecaster.py`, the weekly
rotation of refits in `forecasting/models/refit.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from forecast_assets.planning.scope import Scope

if TYPE_CHECKING:
    from warehouse.connection import Transaction
    from warehouse.forecaster import Runner
    from warehouse.models import PooledVersion


@dataclass(frozen=True)
class FittedStore:
    """A store's model in a period.

    Attributes:
        trained_until: The last day that it has seen.
        pooled_version: The pooled model that it was shrunk to; None before the first.
        days: How many days of sales it was fitted to; None if the model was carried over from the
            period before.
    """

    trained_until: date
    pooled_version: str | None
    days: int | None


def fit_period(
    transaction: Transaction,
    scope: Scope,
    stores: Sequence[int],
    period: date,
    run: Runner,
) -> dict[int, FittedStore | None]:
    """Fit and replace the models of stores that are due in a period.

    Args:
        transaction: The open transaction; hold the period's lock.
        scope: What the run computes. A refresh keeps the models that are still valid.
        stores: The stores.
        period: The period.
        run: Computes the models, each of which depends on one store only.

    Returns:
        Store -> its new model, or None if it has no sales by the end of the period. Stores whose
        models stay are left out.
    """
    from warehouse import models, sales

    newest = sales.newest_days(transaction, "cleaned_sales", stores)
    origins = sales.newest_days(transaction, "cleaned_sales", stores, until=scope.end_of(period))
    without_sales = [store for store in stores if store not in origins]
    fitted: dict[int, FittedStore | None] = dict.fromkeys(without_sales)
    stored: dict[int, tuple[date, str | None]] = {}
    if scope.refresh_id is not None:
        # A new period alone does not make a model stale, and fitting all stores takes many seconds.
        carried_over = models.carry_over(transaction, list(origins), period)
        stored = models.fitted_days(transaction, stores, period)
        fitted |= {store: FittedStore(*stored[store], days=None) for store in carried_over}
    for version, group in models.by_pooled_version(transaction, origins):
        due = _due_stores(scope, group, newest, stored, version)
        days = _fit(transaction, version, due, period, run)
        # A store whose first sale falls after its scheduled refit day.
        young = {
            store: group[store]
            for store, day in due.items()
            if store not in days and day != group[store]
        }
        days |= _fit(transaction, version, young, period, run)
        trained_until = due | young
        name = version.version if version else None
        fitted |= {store: FittedStore(trained_until[store], name, n) for store, n in days.items()}
    models.clear_store_models(transaction, without_sales, period)
    return fitted


def _due_stores(
    scope: Scope,
    origins: Mapping[int, date],
    newest: Mapping[int, date],
    stored: Mapping[int, tuple[date, str | None]],
    version: PooledVersion | None,
) -> dict[int, date]:
    """Return store -> the last day that its new model may see, for each store that needs one.

    Args:
        scope: What the run computes.
        origins: Store -> its newest day up to the end of the period.
        newest: Store -> its newest day.
        stored: Store -> the last day and the pooled version of its model, if it may be kept.
        version: The pooled model of these stores.
    """
    from forecasting.models.refit import fit_day

    name = version.version if version else None
    pooled_until = version.trained_until if version else None
    due = {}
    for store, origin in origins.items():
        # Only a store's newest day rotates; a past period is fitted up to its end.
        day = fit_day(store, origin, pooled_until) if newest[store] == origin else origin
        if stored.get(store) != (day, name) or scope.changed_since(store, day):
            due[store] = day
    return due


def _fit(
    transaction: Transaction,
    version: PooledVersion | None,
    due: Mapping[int, date],
    period: date,
    run: Runner,
) -> dict[int, int]:
    """Fit and replace the models of stores; return store -> days of sales it was fitted to."""
    from warehouse import forecaster, models

    if not due:
        return {}
    fitted = forecaster.fit(transaction, version, due, run)
    models.replace_store_models(transaction, fitted, list(due), period)
    return dict(zip(fitted["store"].tolist(), fitted["n_days"].tolist(), strict=True))
