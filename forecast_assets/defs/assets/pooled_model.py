"""`pooled_model`: what all stores have in common, trained now and then, frozen in versions."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from forecast_assets.core.periods import period_end
from forecast_assets.defs.assets.common import OWNERS, ROWLESS, Materialized
from forecast_assets.defs.partitions import dates
from forecast_assets.defs.reporting import report
from forecast_assets.defs.resources import WarehouseResource


@dg.asset(
    partitions_def=dates,
    **ROWLESS,
    owners=OWNERS,
    group_name="models",
    deps=[
        dg.AssetDep(
            "features",
            partition_mapping=dg.MultiToSingleDimensionPartitionMapping(
                partition_dimension_name="date"
            ),
        )
    ],
    kinds={"postgres", "mlflow", "scikitlearn"},
    description=(
        "What all stores have in common: coefficients that each store's own model is drawn "
        "towards, and how wide intervals must be. Sees nothing after its period's end. Every "
        "training is a version of its own, kept for ever and logged to MLflow."
    ),
)
def pooled_model(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    mlflow: dg.ResourceParam[Any],
) -> Iterator[dg.Output[None]]:
    """Trains a pooled model on everything up to the end of each of the run's periods."""
    from forecast_assets.settings import settings

    grain = settings().date_grain
    materialized: Materialized = {}
    for key in context.partition_keys:
        start = date.fromisoformat(key)
        materialized[key] = _train(
            context, warehouse, mlflow, start, period_end(start, grain), nested=bool(materialized)
        )
    mlflow.end_run()
    yield from report(context, materialized)


def _train(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    mlflow: Any,
    start: date,
    end: date,
    *,
    nested: bool,
) -> dict[str, Any]:
    from forecast_assets.core.features import FEATURE_COLUMNS
    from forecast_assets.core.pooled import fit_pooled
    from forecast_assets.settings import settings
    from forecast_assets.warehouse import changes, models, sales

    chosen = settings()
    with warehouse.transaction() as transaction:
        rows = sales.features(transaction, list(FEATURE_COLUMNS), end)
    if rows.empty:
        raise dg.Failure(
            f"No features up to {end}: materialize cleaned_sales and features of earlier periods "
            "first (the refresh sensor does so after a load)",
            allow_retries=False,
        )
    trained_until = rows["date"].max().date()
    context.log.info(
        f"Training on {len(rows):,} days of {rows['store'].nunique():,} stores up to "
        f"{trained_until}, recipe {chosen.recipe}"
    )
    model = fit_pooled(rows, origin=trained_until, horizon=chosen.horizon, recipe=chosen.recipe)
    run_id = mlflow.active_run().info.run_id
    prefix = f"{start}/" if nested else ""
    mlflow.log_params(
        {
            f"{prefix}recipe": chosen.recipe,
            f"{prefix}trained_until": str(trained_until),
            f"{prefix}horizon": chosen.horizon,
            f"{prefix}stores": rows["store"].nunique(),
            f"{prefix}days": len(rows),
        }
    )
    mlflow.log_metrics({f"{prefix}{name}": value for name, value in model.metrics.items()})
    data = model.to_bytes()
    version = f"{trained_until}-{run_id[:8]}"
    _log_model(mlflow, version, data)
    with warehouse.transaction() as transaction:
        models.add_pooled(
            transaction,
            version=version,
            period_start=start,
            trained_until=trained_until,
            recipe=chosen.recipe,
            mlflow_run_id=run_id,
            metrics=model.metrics,
            model=data,
        )
        newest = models.pooled_for(transaction, date.max)
        if newest is not None and newest.version == version:
            changes.note_champion(transaction)
    return {
        "version": version,
        "trained_until": str(trained_until),
        "mlflow_run": run_id,
        **{name: dg.MetadataValue.float(float(value)) for name, value in model.metrics.items()},
    }


def _log_model(mlflow: Any, version: str, data: bytes) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"pooled_model-{version}.json.gz"
        path.write_bytes(data)
        mlflow.log_artifact(str(path))
