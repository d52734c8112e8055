"""Resources: the sales database, MLflow, Spark, and the days that a run is limited to.

Nothing here connects before it is used. The state of a run is in `run_state.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from forecast_assets.defs.day_config import span_of_days
from forecast_assets.planning.partition_cells import ALL_DAYS, Span
from forecast_assets.settings import settings
from forecasting.threads import BLAS_THREADS, BLAS_VARIABLE

if TYPE_CHECKING:
    from dagster_pyspark import LazyPySparkResource
    from pyspark.sql import SparkSession

    from warehouse.connection import Transaction
    from warehouse.notifications import ChangeListener


#: Rows per Arrow batch: some megabytes, well below Spark's limit for one message.
ROWS_PER_BATCH = 50_000


class WarehouseResource(dg.ConfigurableResource):
    """The sales database, with the assets' role."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction; it commits at the end of the block or rolls back on an error."""
        from warehouse.connection import Warehouse

        with Warehouse(settings().require_database_url()).transaction() as transaction:
            yield transaction

    @contextmanager
    def listening(self) -> Iterator[ChangeListener]:
        """Listen for changes until the end of the block."""
        from warehouse.notifications import listening

        with listening(settings().require_database_url()) as listener:
            yield listener


class OnlyDaysResource(dg.ConfigurableResource):
    """The days that a run is limited to inside its partitions; by default all of them.

    Sales and features of other days stay unchanged. The last day becomes the origin of models and
    forecasts. Refreshes ignore these days.
    """

    #: As ISO dates: a configurable resource holds no `date`.
    first_day: str | None = None
    last_day: str | None = None

    def span(self) -> Span:
        """Return the first and the last day."""
        return (
            date.fromisoformat(self.first_day) if self.first_day else ALL_DAYS[0],
            date.fromisoformat(self.last_day) if self.last_day else ALL_DAYS[1],
        )


@dg.resource(
    description="The days that a run is limited to inside its partitions; by default all of them.",
    config_schema=span_of_days(
        first="For example 2015-05-10. Default: the first partition's first day.",
        last="For example 2015-05-20. Default: the last partition's last day.",
    ),
)
def only_days(context: dg.InitResourceContext) -> OnlyDaysResource:
    """Return the days in the run's config; Dagster has checked them when it planned the run."""
    return OnlyDaysResource(
        **{name: day.isoformat() for name, day in context.resource_config.items() if day}
    )


@dg.resource(
    description="An MLflow run for each Dagster run.",
    config_schema={
        "experiment_name": dg.StringSource,
        "mlflow_tracking_uri": dg.StringSource,
        "env": dg.Field(dg.Permissive(), default_value={}),
        "extra_tags": dg.Field(dg.Permissive(), default_value={}),
    },
)
def mlflow_tracking(context: dg.InitResourceContext) -> Iterator[Any]:
    """Yield the resource of dagster-mlflow.

    The import is here because it takes two seconds, and only trainings need MLflow.
    """
    from dagster_mlflow import mlflow_tracking as original

    make: Any = original.resource_fn
    yield from make(context)


class SparkResource(dg.ConfigurableResource):
    """Spark, for a bounded drain and for runs that are too large for one process."""

    _computing: Any = PrivateAttr(default=None)

    @contextmanager
    def draining(self) -> Iterator[SparkSession]:
        """Return a session with the stream's configuration; it stops at the end of the block."""
        from streaming_job.session import spark_config
        from streaming_job.settings import load_settings

        config = load_settings()
        spark = _lazy_spark(
            {"spark.master": config.spark_master, "spark.app.name": "raw_sales drain"}
            | spark_config(config)
        ).spark_session
        try:
            yield spark
        finally:
            spark.stop()

    def computing(self) -> SparkSession:
        """Return the run's session for computing; it starts on the first call.

        Raises:
            UnavailableError: The cluster does not answer, or its executors do not reach the driver.
        """
        if self._computing is None:
            from streaming_job.errors import UnavailableError
            from streaming_job.session import await_executor, check_master

            master = settings().spark_master
            check_master(master)
            lazy = _lazy_spark(computing_config(master))
            try:
                await_executor(lazy.spark_session)
            except UnavailableError:
                # A later step would otherwise get a session that waits for ever.
                lazy.spark_session.stop()
                raise
            self._computing = lazy
        session: SparkSession = self._computing.spark_session
        return session

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Stop the session if the run started one."""
        if self._computing is not None:
            self._computing.spark_session.stop()


def computing_config(master: str) -> dict[str, str]:
    """Return Spark's configuration for computing.

    A `spark-defaults.conf` in the folder SPARK_DEFAULTS_DIR sets the rest.
    """
    from streaming_job.session import cluster_config
    from streaming_job.settings import SparkSettings

    return cluster_config(master, SparkSettings()) | {
        "spark.master": master,
        "spark.app.name": "forecast_assets",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(ROWS_PER_BATCH),
        # Send a frame as one task per batch. As a local relation, the driver would unpack it.
        "spark.sql.execution.arrow.localRelationThreshold": "0",
        # Several executors share one machine's cores.
        f"spark.executorEnv.{BLAS_VARIABLE}": BLAS_THREADS,
    }


def _lazy_spark(config: dict[str, str]) -> LazyPySparkResource:
    from dagster_pyspark import LazyPySparkResource

    from streaming_job.session import prepare_environment

    prepare_environment()
    return LazyPySparkResource(spark_config=config)


@dg.definitions
def resources() -> dg.Definitions:
    """Define the resources by the names that assets request them with."""
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
            "only_days": only_days,
        },
    )
