"""Resources: the sales database, MLflow, Spark. Nothing here connects before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecast_assets.warehouse.connection import Transaction


class WarehouseResource(dg.ConfigurableResource):
    """The sales database, as the assets' role."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block, or rolls back."""
        from forecast_assets.warehouse.connection import Warehouse

        with Warehouse(settings().require_database_url()).transaction() as transaction:
            yield transaction


@dg.resource(
    description="An MLflow run for the Dagster run, by dagster-mlflow.",
    config_schema={
        "experiment_name": dg.StringSource,
        "mlflow_tracking_uri": dg.StringSource,
        "env": dg.Field(dg.Permissive(), default_value={}),
        "extra_tags": dg.Field(dg.Permissive(), default_value={}),
    },
)
def mlflow_tracking(context: dg.InitResourceContext) -> Iterator[Any]:
    """dagster-mlflow's `mlflow_tracking`, imported only by a run that trains.

    MLflow takes two seconds to import, which every run's process would pay.
    """
    from dagster_mlflow import mlflow_tracking as tracked

    make: Any = tracked.resource_fn
    yield from make(context)


class StreamSparkResource(dg.ConfigurableResource):
    """Spark for a bounded drain, by dagster-pyspark, with the stream's own configuration."""

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A Spark session that ends with the block; nothing is started before."""
        from dagster_pyspark import LazyPySparkResource

        from streaming_job.session import prepare_environment, spark_config
        from streaming_job.settings import load_settings

        chosen = load_settings()
        prepare_environment()
        config = {"spark.master": chosen.spark_master, "spark.app.name": "raw_sales drain"}
        spark = LazyPySparkResource(spark_config=config | spark_config(chosen)).spark_session
        try:
            yield spark
        finally:
            spark.stop()


@dg.definitions
def resources() -> dg.Definitions:
    """The resources by the names that assets ask for."""
    return dg.Definitions(
        resources={
            "warehouse": WarehouseResource(),
            "mlflow": mlflow_tracking.configured(
                {
                    "experiment_name": settings().mlflow_experiment,
                    "mlflow_tracking_uri": {"env": "MLFLOW_TRACKING_URI"},
                }
            ),
            "pyspark": StreamSparkResource(),
        },
    )
