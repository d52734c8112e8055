"""`pooled_model`: what all stores have in common, trained on a schedule and stored as versions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.defs.asset_options import OWNERS, ROWLESS, table_metadata
from forecast_assets.defs.jobs import FIRST_TRAINING_TAG
from forecast_assets.defs.partitions import dates
from forecast_assets.defs.reporting import Materialized, output_without_partitions, report
from forecast_assets.defs.resources import WarehouseResource

if TYPE_CHECKING:
    from forecast_assets.steps.trained import Trained


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
    metadata=table_metadata("pooled_model"),
    kinds={"postgres", "mlflow", "scikitlearn"},
    description=(
        "What all stores have in common: the coefficients that each store's own model is shrunk "
        "towards, and how wide intervals must be. Sees no day after its period's end. Every "
        "training is a new version, kept forever and registered in MLflow; the newest one is the "
        "champion. If the settings name a challenger, both recipes forecast past origins, and the "
        "more accurate one is trained on everything."
    ),
)
def pooled_model(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    mlflow: dg.ResourceParam[Any],
) -> Iterator[dg.Output[None]]:
    """Train a pooled model on everything up to the end of each of the run's periods."""
    with _ended(mlflow):
        materialized = _train_periods(context, warehouse, mlflow.active_run().info.run_id)
    report(context, materialized)
    yield output_without_partitions()


@contextmanager
def _ended(mlflow: Any) -> Iterator[None]:
    """End the active MLflow run with the block: failed if it raises, so that no run stays open."""
    try:
        yield
    except BaseException:
        mlflow.end_run("FAILED")
        raise
    mlflow.end_run()


def _train_periods(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, mlflow_run_id: str
) -> Materialized:
    from forecast_assets.settings import settings
    from forecast_assets.steps import training
    from warehouse import upstream

    materialized: Materialized = {}
    for key in context.partition_keys:
        start = date.fromisoformat(key)
        end = settings().calendar.end_of(start)
        with warehouse.transaction() as transaction:
            lacks_features = upstream.has_sales_without_features(transaction, start, end)
            rows, champion = training.read_rows(transaction, end)
        if rows.empty or lacks_features:
            raise dg.Failure(
                f"pooled_model: there are no features {'up to' if rows.empty else f'of {start} to'}"
                f" {end}. Nothing was trained for {start}. Materialize cleaned_sales and features "
                f"of {'earlier periods' if rows.empty else start} first; after a load, the refresh "
                "sensor does so",
                allow_retries=False,
            )
        trained = training.train(
            rows,
            compare=FIRST_TRAINING_TAG not in context.run.tags,
            champion_recipe=champion.recipe if champion else None,
            run_id=mlflow_run_id,
            say=context.log.info,
        )
        # The MLflow run of a range has several models: their periods tell them apart.
        pictures = training.log_training(
            trained,
            rows,
            prefix=f"{start}/" if materialized else "",
            dagster_run_id=context.run.run_id,
        )
        registered = training.register(trained)
        with warehouse.transaction() as transaction:
            serves = training.store(transaction, trained, start, registered)
        if serves:
            training.register_challenger(trained)
        materialized[key] = _metadata(trained, registered, pictures)
    return materialized


def _metadata(trained: "Trained", registered: str, pictures: dict[str, str]) -> dict[str, Any]:
    return {
        "version": trained.version,
        "recipe": trained.model.recipe,
        "trained_until": str(trained.model.trained_until),
        "mlflow_run": _mlflow_link(trained.run_id),
        "mlflow_version": registered,
        **{k: dg.MetadataValue.float(float(v)) for k, v in trained.metrics.items()},
        **({"comparison": trained.summary} if trained.summary else {}),
        **{name: dg.MetadataValue.md(picture) for name, picture in pictures.items()},
    }


def _mlflow_link(run_id: str) -> Any:
    """Return the run's page in MLflow, or its id if MLflow has no pages."""
    from forecast_assets.settings import settings

    base = (settings().mlflow_tracking_uri or "").rstrip("/")
    return dg.MetadataValue.url(f"{base}/#/runs/{run_id}") if base.startswith("http") else run_id
