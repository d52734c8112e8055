"""Forecasts from the models and the sales that the database holds.

A `Forecaster` reads everything that forecasts of some stores from one origin depend on. The
`forecasts` asset, the trace and what-if scenarios all forecast through it. Statements live in the
modules of their tables; the computation lives in `forecasting.pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np
import pandas as pd

from forecasting.calibration import ErrorMeasure
from forecasting.explanation import Explanation, explain
from forecasting.features.daily import FEATURE_COLUMNS
from forecasting.features.plans import planned_features
from forecasting.models.at_origin import RESIDUAL_DAYS
from forecasting.models.dependence import Dependence
from forecasting.models.levels import LEVEL_DAYS
from forecasting.models.model_format import MODEL_FORMAT
from forecasting.models.pooled import DEFAULT_HORIZON, PooledModel
from forecasting.models.store_models import fit_stores
from forecasting.pipeline import predict_features
from warehouse import forecasts, models, sales
from warehouse.connection import Transaction
from warehouse.errors import ModelError
from warehouse.models import PooledVersion

#: Computes rows from the feature rows of any number of stores.
RowFunction = Callable[[pd.DataFrame], pd.DataFrame]
#: Applies a `RowFunction` to rows, either in this process or on executors for groups of stores.
Runner = Callable[[RowFunction, pd.DataFrame], pd.DataFrame]


def run_here(function: RowFunction, rows: pd.DataFrame) -> pd.DataFrame:
    """Apply a function to all rows at once, in this process."""
    return function(rows)


@dataclass(frozen=True)
class Forecaster:
    """Stored models of some stores, and the data that they may use at one origin.

    Attributes:
        origin: Last day whose sales are used.
        version: The pooled model that the store models were shrunk to; None before the first.
        pooled: The pooled model, deserialized.
        store_models: The stores' models, one row per store.
        days: Day panel up to the origin.
        history: Feature rows up to the origin, as far back as a forecast looks.
        future: Feature rows of the horizon, from the current plan.
    """

    origin: date
    version: PooledVersion | None
    pooled: PooledModel | None
    store_models: pd.DataFrame
    days: pd.DataFrame
    history: pd.DataFrame
    future: pd.DataFrame

    @classmethod
    def read(
        cls,
        transaction: Transaction,
        store_models: pd.DataFrame,
        origin: date,
        *,
        horizon: int = DEFAULT_HORIZON,
        plan: pd.DataFrame | None = None,
        history_days: int | None = None,
    ) -> Forecaster:
        """Read what forecasts of some stores from one origin depend on.

        Args:
            transaction: The open transaction.
            store_models: Rows of `models.store_models` that share one pooled version.
            origin: Last day whose sales may be used.
            horizon: Days ahead.
            plan: Rows of the day panel without sales. They replace the stored plan of their stores
                and dates; the forecast is the one that a refresh under that plan would make.
                Nothing is written.
            history_days: Days of feature rows to read; by default the days that the models need.

        Raises:
            ModelError: A store's model has seen days after the origin, or this version of the
                code cannot read the pooled model.
        """
        stores = [int(store) for store in store_models["store"]]
        _refuse_later_models(store_models, origin)
        version = _version(transaction, store_models)
        pooled = PooledModel.from_bytes(version.model) if version else None
        if history_days is None:
            # Trees look at the same season a year before, linear models at the last weeks.
            history_days = RESIDUAL_DAYS if pooled and pooled.boosters else LEVEL_DAYS
        past, stored_plan = sales.known_at(transaction, stores, origin, horizon)
        history = sales.features(
            transaction, origin, stores, since=origin - timedelta(days=history_days)
        )
        # All stores are computed together, because a day without a plan takes most stores' promo.
        looking, future = planned_features(
            past,
            stored_plan if plan is None else _replaced(stored_plan, plan),
            _same_origin(stores, origin),
            horizon,
        )
        if plan is not None and (taught := _stores_that_differ(history, looking)):
            looking = looking[looking["store"].isin(taught)]
            rows = _updated(sales.features(transaction, origin, taught), looking)
            # On the days that its model has seen: a refresh refits it on the same ones.
            seen = store_models.set_index("store")["trained_until"].dt.date
            refitted = _fitted(rows, version, {store: seen[store] for store in taught})
            others = store_models[~store_models["store"].isin(taught)]
            store_models = pd.concat([others, refitted], ignore_index=True)
            history = _updated(history, looking)
        return cls(origin, version, pooled, store_models, past, history, future)

    def forecast(
        self, error_measure: ErrorMeasure = "rmspe", run: Runner = run_here
    ) -> pd.DataFrame:
        """Forecast every store and day of the horizon.

        Args:
            error_measure: The error measure that `point` minimizes.
            run: Runs the computation, by default in this process.

        Returns:
            The frame that `forecasting.prediction.forecast` describes.
        """
        function = partial(
            predict_features,
            self.pooled,
            origins=_same_origin(self.store_models["store"], self.origin),
            store_models=self.store_models,
            error_measure=error_measure,
        )
        return run(function, pd.concat([self.history, self.future]))

    def explain(self, day: date) -> Explanation:
        """Split the forecast of one store and day into the effects of its regressors.

        Raises:
            ValueError: There is more than one store, or the day lies outside the horizon.
        """
        return explain(
            self.history,
            self.store_models,
            self.pooled,
            self.future,
            origin=self.origin,
            day=day,
        )


def forecast(
    transaction: Transaction,
    stores: Sequence[int],
    origin: date,
    plan: pd.DataFrame | None = None,
    *,
    horizon: int = DEFAULT_HORIZON,
    error_measure: ErrorMeasure = "rmspe",
) -> pd.DataFrame:
    """Forecast stores from an origin with their stored models; nothing is written.

    Args:
        transaction: The open transaction of a role that may read.
        stores: The stores. A store without a model up to the origin is left out.
        origin: Last day whose sales may be used.
        plan: For a what-if, rows of the day panel without sales that replace the stored plan of
            their stores and dates. By default, the stored plan is used.
        horizon: Days ahead.
        error_measure: The error measure that `point` minimizes.

    Returns:
        The rows that the `forecasts` asset writes for this origin, with `model_version`.

    Raises:
        ModelError: This version of the code cannot read a stored model.
    """
    stored = models.store_models_at(transaction, stores, origin)
    parts = [
        forecaster.forecast(error_measure).assign(model_version=name)
        for name, forecaster in _by_version(transaction, stored, origin, horizon, plan)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


@dataclass(frozen=True)
class ForecastBatch:
    """Forecasts that share an origin and a pooled model.

    Attributes:
        origin: Last day whose sales were used.
        version: The pooled model's version; None before the first.
        issued: Stores whose forecasts were issued; those of all others are backtests.
        rows: The forecasts.
        days: Day panel up to the origin.
        dependence: How days and stores err together, by the pooled model.
    """

    origin: date
    version: str | None
    issued: frozenset[int]
    rows: pd.DataFrame
    days: pd.DataFrame
    dependence: Dependence


def write_period(
    transaction: Transaction,
    stores: Sequence[int],
    period: tuple[date, date],
    run_id: str,
    *,
    until: date,
    issue: bool,
    horizon: int = DEFAULT_HORIZON,
    error_measure: ErrorMeasure = "rmspe",
    run: Runner = run_here,
) -> list[ForecastBatch]:
    """Forecast stores from their origins in a period, and write the forecasts.

    Args:
        transaction: The open transaction, which holds the period's lock.
        stores: The stores. A store without sales or a model in the period gets no forecast.
        period: First and last day of the period.
        run_id: The Dagster run that the rows name.
        until: Last day of the period whose sales may be used.
        issue: Whether to issue the forecasts of stores whose newest day is their origin. All other
            forecasts replace the period's backtests.
        horizon: Days ahead.
        error_measure: The error measure that `point` minimizes.
        run: Runs the computation, by default in this process.

    Returns:
        The written forecasts, one batch per origin and pooled model.

    Raises:
        ModelError: A store's model has seen days after the origin, or this version of the code
            cannot read the pooled model.
    """
    origins = sales.newest_days(transaction, "cleaned_sales", stores, until=until)
    newest = sales.newest_days(transaction, "cleaned_sales", stores)
    stored = models.store_models(transaction, stores, period[0])
    known = {s: origins[s] for s in stored["store"] if origins.get(s, date.min) >= period[0]}
    batches = []
    for origin in sorted(set(known.values())):
        group = stored[stored["store"].map(known) == origin]
        for name, forecaster in _by_version(transaction, group, origin, horizon):
            rows = forecaster.forecast(error_measure, run)
            current = {int(store) for store in rows["store"].unique() if newest[store] == origin}
            issued = frozenset(current) if issue else frozenset()
            pooled = forecaster.pooled
            dependence = pooled.dependence if pooled else Dependence.default()
            batches.append(ForecastBatch(origin, name, issued, rows, forecaster.days, dependence))
    _write(transaction, batches, stores, period, run_id)
    return batches


def fit(
    transaction: Transaction,
    version: PooledVersion | None,
    origins: Mapping[int, date],
    run: Runner = run_here,
) -> pd.DataFrame:
    """Fit stores' models on the stored features; nothing is written.

    Args:
        transaction: The open transaction.
        version: The pooled model to shrink to. If None, each store is fitted alone.
        origins: Last day that each store's model may use.
        run: Runs the computation, by default in this process.

    Returns:
        The frame of `fit_stores` with `pooled_version`.
    """
    rows = sales.features(transaction, max(origins.values()), list(origins))
    return _fitted(rows, version, origins, run)


def _fitted(
    rows: pd.DataFrame,
    version: PooledVersion | None,
    origins: Mapping[int, date],
    run: Runner = run_here,
) -> pd.DataFrame:
    function = partial(
        fit_stores,
        pooled=PooledModel.from_bytes(version.model) if version else None,
        origin=pd.to_datetime(pd.Series(dict(origins))),
    )
    return run(function, rows).assign(pooled_version=version.version if version else None)


def _stores_that_differ(features: pd.DataFrame, some: pd.DataFrame) -> list[int]:
    """Return the stores of which some feature row has other values in a larger frame."""
    keys, names = ["store", "date"], list(FEATURE_COLUMNS)
    stored = some[keys].merge(features, on=keys, how="left")[names].to_numpy(float)
    same = np.isclose(stored, some[names].to_numpy(float), equal_nan=True).all(axis=1)
    return [int(store) for store in some.loc[~same, "store"].unique()]


def _updated(features: pd.DataFrame, some: pd.DataFrame) -> pd.DataFrame:
    """Return feature rows with some of them replaced, in the same order."""
    both = _replaced(features, some[features.columns])
    return both.sort_values(["store", "date"], ignore_index=True)


def _by_version(
    transaction: Transaction,
    store_models: pd.DataFrame,
    origin: date,
    horizon: int,
    plan: pd.DataFrame | None = None,
) -> Iterator[tuple[str | None, Forecaster]]:
    """Read one forecaster for each pooled version that store models name."""
    for name, group in store_models.groupby("pooled_version", dropna=False):
        version = name if isinstance(name, str) else None
        yield (
            version,
            Forecaster.read(
                transaction, group.reset_index(drop=True), origin, horizon=horizon, plan=plan
            ),
        )


def _write(
    transaction: Transaction,
    batches: Sequence[ForecastBatch],
    stores: Sequence[int],
    period: tuple[date, date],
    run_id: str,
) -> None:
    """Append the issued forecasts, and replace the backtests of all other stores."""
    replaced, backtests = set(stores), []
    for batch in batches:
        is_issued = batch.rows["store"].isin(batch.issued)
        if batch.issued:
            forecasts.issue(transaction, batch.rows[is_issued], run_id, batch.version)
        replaced -= batch.issued
        backtests.append(batch.rows[~is_issued].assign(model_version=batch.version))
    if replaced:
        rows = pd.concat(backtests) if backtests else None
        forecasts.replace_backtest(transaction, rows, sorted(replaced), period, run_id)


def _version(transaction: Transaction, store_models: pd.DataFrame) -> PooledVersion | None:
    """Read the one pooled model that store models were shrunk to."""
    (name,) = store_models["pooled_version"].unique()
    if not isinstance(name, str):
        return None
    version = models.pooled(transaction, name)
    if version.format != MODEL_FORMAT:
        raise ModelError(
            f"This version of the code cannot read the pooled model {name} that the store models "
            "were shrunk to: materialize store_models of the same partitions first"
        )
    return version


def _refuse_later_models(store_models: pd.DataFrame, origin: date) -> None:
    later = store_models[store_models["trained_until"] > pd.Timestamp(origin)]
    if len(later):
        first = later.iloc[0]
        raise ModelError(
            f"The model of store {first['store']} has seen {first['trained_until']:%Y-%m-%d}, "
            f"which is later than the origin {origin}: materialize store_models together with "
            "forecasts, for the same days"
        )


def _replaced(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Replace the rows of the stores and dates that other rows name."""
    keys = ["store", "date"]
    kept = ~pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(others[keys]))
    return pd.concat([rows[kept], others], ignore_index=True)


def _same_origin(stores: Sequence[int] | pd.Series, origin: date) -> pd.Series:
    """Return one origin for every store, by store id."""
    return pd.Series(pd.Timestamp(origin), index=pd.Index(list(stores), name="store"))
