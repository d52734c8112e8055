"""Resources: the sales database, MLflow, Spark. Nothing here connects before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from forecast_assets.planning.partition_cells import ALL_DAYS, Days
from forecast_assets.settings import settings

if TYPE_CHECKING:
    from dagster_pyspark import LazyPySparkResource
    from pyspark.sql import SparkSession

    from warehouse.connection import Transaction


class WarehouseResource(dg.ConfigurableResource):
    """The sales database, as the assets' role."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block, or rolls back."""
        from warehouse.connection import Warehouse

        with Warehouse(settings().require_database_url()).transaction() as transaction:
            yield transaction


class OnlyDaysResource(dg.ConfigurableResource):
    """The days that a run keeps to inside its partitions; all of them by default.

    Sales and features of other days stay as they are; models and forecasts have the last day as
    their origin. Refreshes compute what changed, whatever is said here.
    """

    first_day: str | None = Field(
        default=None, description="As 2015-05-10; by default the first partition's first day."
    )
    last_day: str | None = Field(
        default=None, description="As 2015-05-20; by default the last partition's last day."
    )

    def span(self) -> Days:
        """The first and the last day.

        Raises:
            dg.Failure: A day is none, or the last lies before the first.
        """
        try:
            first = date.fromisoformat(self.first_day) if self.first_day else ALL_DAYS[0]
            last = date.fromisoformat(self.last_day) if self.last_day else ALL_DAYS[1]
        except ValueError as error:
            raise dg.Failure(
                f"only_days: {error}; a day is written as 2015-05-10", allow_retries=False
            ) from error
        if last < first:
            raise dg.Failure(
                f"only_days: the last day {last} lies before the first {first}",
                allow_retries=False,
            )
        return first, last


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


class SparkResource(dg.ConfigurableResource):
    """Spark by dagster-pyspark: for a bounded drain, and for runs too large for this process."""

    _computing: Any = PrivateAttr(default=None)

    @contextmanager
    def draining(self) -> Iterator[SparkSession]:
        """A session with the stream's own configuration, which ends with the block."""
        from streaming_job.session import spark_config
        from streaming_job.settings import load_settings

        chosen = load_settings()
        config = {"spark.master": chosen.spark_master, "spark.app.name": "raw_sales drain"}
        spark = _lazy_spark(config | spark_config(chosen)).spark_session
        try:
            yield spark
        finally:
            spark.stop()

    def computing(self) -> SparkSession:
        """The run's session for core's functions: started when first asked for, ends with it."""
        if self._computing is None:
            from forecast_assets.defs.executors import spark_config

            self._computing = _lazy_spark(spark_config(settings().spark_master))
        session: SparkSession = self._computing.spark_session
        return session

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Ends the session, if the run started one."""
        if self._computing is not None:
            self._computing.spark_session.stop()


def _lazy_spark(config: dict[str, str]) -> LazyPySparkResource:
    from dagster_pyspark import LazyPySparkResource

    from streaming_job.session import prepare_environment

    prepare_environment()
    return LazyPySparkResource(spark_config=config)


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
            "pyspark": SparkResource(),
            "only_days": OnlyDaysResource(),
        },
    )
