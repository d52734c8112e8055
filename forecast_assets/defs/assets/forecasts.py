"""`forecasts`: the coming days of each store, issued by refreshes or computed as backtests."""

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.assets.common import (
    ROW_COUNT,
    STORE_LEVEL,
    Materialized,
    apart_in_refresh,
    described,
    finish,
    lock,
    named,
    timed,
)
from forecast_assets.defs.checks import (
    DAY_COMPLETE,
    NO_FUTURE_DATA,
    day_complete,
    no_future_data,
)
from forecast_assets.defs.executors import run_by_stores, spark_for
from forecast_assets.defs.partitions import partition_key
from forecast_assets.defs.reporting import Events, checking, schema_check, validated
from forecast_assets.defs.resources import OnlyDaysResource, SparkResource, WarehouseResource
from forecast_assets.defs.scope import Scope, scope_of
from forecast_assets.planning.calendar import period_end

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from warehouse.connection import Transaction


@dg.asset(
    **STORE_LEVEL,
    check_specs=[schema_check("forecasts"), NO_FUTURE_DATA, DAY_COMPLETE],
    group_name="forecasts",
    deps=["store_models", "features"],
    metadata=described("forecasts"),
    kinds={"postgres", "sktime"},
    description=(
        "What each store will sell on each of the coming days, with intervals. A refresh issues "
        "forecasts from the newest day; materializing a past partition is a backtest: it sees no "
        "sales after the partition's end, and takes the days' real openings and promos as plan."
    ),
)
def forecasts(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    pyspark: SparkResource,
    only_days: OnlyDaysResource,
) -> Events:
    """Issues or backtests the forecasts of the run's partitions; closes a refresh."""
    from forecast_assets.settings import settings
    from warehouse import changes

    scope = scope_of(context, warehouse, only_days)
    materialized: Materialized = {}
    found: list[dg.AssetCheckResult] = []
    with (
        checking(found),
        timed(scope.refresh_id, context, warehouse),
        warehouse.transaction() as transaction,
    ):
        # One transaction: the changes close together with the forecasts that they asked for.
        lock(transaction, "forecasts", tuple(scope.models))
        spark = spark_for(context, pyspark, scope, scope.models)
        newest_origin, newest_version = None, None
        for period, stores in scope.models.items():
            made, grain = _Made(), settings().date_grain
            failed = _period(
                transaction, scope, context.run.run_id, stores, period, grain, made, spark
            )
            for store in stores:
                if store not in failed:
                    materialized[partition_key(period, store)] = made.metadata.get(
                        store, {ROW_COUNT: 0}
                    )
            if failed:
                changes.note_failed(transaction, context.run.run_id, named(context, failed))
            if made.origin is not None:
                model = made.version or "none trained by then, so the stores' own alone"
                context.log.info(f"{period}: origin {made.origin}, pooled model {model}")
                if newest_origin is None or made.origin >= newest_origin:
                    newest_origin, newest_version = made.origin, made.version
        if scope.refresh_id is not None:
            changes.close(
                transaction,
                scope.refresh_id,
                newest_origin=newest_origin,
                model_version=newest_version,
            )
    found += [no_future_data(warehouse), day_complete(warehouse)]
    yield from finish(context, materialized, found)


class _Made:
    """What was forecast for a period: metadata by store, newest origin and its version."""

    def __init__(self) -> None:
        self.metadata: dict[int, dict[str, Any]] = {}
        self.origin: date | None = None
        self.version: str | None = None

    def draw(self, days: "pd.DataFrame", rows: "pd.DataFrame", store: int) -> None:
        """Shows one store, if it is among the rows: pictures of all would swell the event log."""
        if not (rows["store"] == store).any():
            return
        from forecast_assets.defs.pictures import forecast_picture

        self.metadata[store]["example"] = dg.MetadataValue.md(forecast_picture(days, rows, store))

    def note(
        self, rows: "pd.DataFrame", issued: set[int], origin: date, version: str | None
    ) -> None:
        """Notes what was forecast from one origin by one version."""
        if self.origin is None or origin >= self.origin:
            self.origin, self.version = origin, version
        for store, days in rows.groupby("store")["date"]:
            self.metadata[int(str(store))] = {
                ROW_COUNT: len(days),
                "kind": "issued" if store in issued else "backtest",
                "origin": str(origin),
                "model_version": version or "none yet",
            }


def _period(
    transaction: "Transaction",
    scope: Scope,
    run_id: str,
    stores: list[int],
    period: date,
    grain: str,
    made: _Made,
    spark: "SparkSession | None",
) -> dict[int, str]:
    """Forecasts some stores from their origins in a period; returns those that failed, and why.

    In a refresh, a store whose newest day lies in the period is issued; everything else is a
    backtest, which replaces the one before.
    """
    from forecast_assets.planning.partition_cells import CHUNK_STORES

    def work(some: list[int]) -> None:
        with transaction.savepoint():
            _some_stores(transaction, scope, run_id, some, period, grain, made, spark)

    failed: dict[int, str] = {}
    for begin in range(0, len(stores), CHUNK_STORES):
        failed |= apart_in_refresh(scope, stores[begin : begin + CHUNK_STORES], work)[1]
    return failed


def _some_stores(
    transaction: "Transaction",
    scope: Scope,
    run_id: str,
    stores: list[int],
    start: date,
    grain: str,
    made: _Made,
    spark: "SparkSession | None",
) -> None:
    """Forecasts some stores from a period, together where origin and pooled model agree.

    A store without sales in the period has no origin there, and no forecast.
    """
    import pandas as pd

    from warehouse import forecasts as table
    from warehouse import models, sales

    newest = sales.newest_days(transaction, "cleaned_sales", stores)
    origins = sales.newest_days(
        transaction, "cleaned_sales", stores, until=scope.end_of(start, grain)
    )
    fitted = models.store_models(transaction, stores, start).set_index("store", drop=False)
    groups: dict[tuple[str | None, date], list[int]] = {}
    for store, seen, version in zip(
        fitted["store"].tolist(),
        fitted["trained_until"].dt.date.tolist(),
        fitted["pooled_version"].tolist(),
        strict=True,
    ):
        origin = origins.get(store)
        if origin is None or origin < start:
            continue
        if origin < seen:
            raise dg.Failure(
                f"The model of store {store} has seen {seen}, later than the origin {origin}: "
                "materialize store_models together with forecasts, for the same days",
                allow_retries=False,
            )
        name = version if isinstance(version, str) else None
        groups.setdefault((name, origin), []).append(store)
    backtests: list[pd.DataFrame] = []
    replaced = set(stores)
    for (version, origin), group in groups.items():
        rows, past = _forecast(
            transaction, fitted.loc[group].reset_index(drop=True), version, origin, spark
        )
        is_current = scope.refresh_id is not None and origin >= start
        issued = {store for store in group if is_current and newest[store] == origin}
        is_issued = rows["store"].isin(issued)
        if issued:
            table.issue(transaction, rows[is_issued], run_id, version)
            replaced -= issued
        backtests.append(rows[~is_issued].assign(model_version=version))
        made.note(rows, issued, origin, version)
        # The UI shows the newest materialization of an asset: that of the last store.
        made.draw(past, rows, stores[-1])
    if replaced:
        together = pd.concat(backtests) if backtests else None
        period = (start, period_end(start, grain))
        table.replace_backtest(transaction, together, sorted(replaced), period, run_id)


def _forecast(
    transaction: "Transaction",
    fitted: "pd.DataFrame",
    version: str | None,
    origin: date,
    spark: "SparkSession | None",
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Forecasts stores from one origin; returns the rows, and the known days before them."""
    import pandas as pd

    from forecast_assets.settings import settings
    from forecasting.features.daily import FEATURE_COLUMNS
    from forecasting.features.plans import future_features
    from forecasting.models.at_origin import RESIDUAL_DAYS
    from forecasting.models.model_format import MODEL_FORMAT
    from forecasting.models.pooled import PooledModel
    from forecasting.models.store_fit import LEVEL_DAYS
    from forecasting.prediction import forecast
    from forecasting.schemas.frames import FORECASTS
    from warehouse import models, sales

    chosen = settings()
    stores = [int(store) for store in fitted["store"]]
    origins = pd.Series(pd.Timestamp(origin), index=pd.Index(stores, name="store"))
    pooled = None
    if version is not None:
        stored = models.pooled(transaction, version)
        if stored.format != MODEL_FORMAT:
            raise dg.Failure(
                f"The store models were drawn towards {version}, which this version of the code "
                "cannot read: materialize store_models of the same partitions first",
                allow_retries=False,
            )
        pooled = PooledModel.from_bytes(stored.model)
    # Trees look at the same season a year before; linear models at the level of the last weeks.
    history = RESIDUAL_DAYS if pooled is not None and pooled.boosters else LEVEL_DAYS
    past, plan = sales.known_at(transaction, stores, origin, chosen.horizon)
    known = sales.features(
        transaction,
        list(FEATURE_COLUMNS),
        origin,
        stores,
        since=origin - timedelta(days=history),
    )
    # Made here: a day that nobody planned takes the promo of the chain, not of a group of stores.
    coming = future_features(past, plan, origins, chosen.horizon)
    measure = chosen.error_measure

    def of_stores(days: "pd.DataFrame") -> "pd.DataFrame":
        # Each takes its own side of the origin.
        return forecast(days, fitted, pooled, days, origins=origins, error_measure=measure)

    rows = run_by_stores(spark, of_stores, pd.concat([known, coming]), FORECASTS)
    return validated(FORECASTS, rows), past
