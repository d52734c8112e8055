"""Core's functions on Spark's executors, for runs that one process would take too long for.

Here belongs the way there and back, and when it is taken. The frames of a chunk still pass
through the run's process, which reads and replaces them in its own transaction; what is spread
over executors is the computing. A function that treats every store by itself gives the same rows
either way, to the bit where both use as many threads of linear algebra.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forecast_assets.settings import settings

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd
    import pandera.pandas as pa
    from pyspark.sql import SparkSession

    from forecast_assets.defs.resources import SparkResource
    from forecast_assets.defs.scope import Scope
    from forecast_assets.planning.partition_cells import Cells

STORES_PER_GROUP = 50
"""Stores of one call on an executor: every call has a price, and its frame must fit in memory."""

ROWS_PER_BATCH = 50_000
"""Rows that travel together: some megabytes, well below what Spark lets a message hold."""

GROUP = "store_group"

_FRAME = {"date_as_object": False, "coerce_temporal_nanoseconds": True}
"""How Arrow becomes a frame: dates are midnight timestamps, as everywhere in core."""


def spark_config(master: str) -> dict[str, str]:
    """Spark's configuration for computing; the rest is left to spark-defaults.conf."""
    config = {
        "spark.master": master,
        "spark.app.name": "forecast_assets",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(ROWS_PER_BATCH),
        # A frame becomes one task a batch: as a local relation it would be unpacked in the driver.
        "spark.sql.execution.arrow.localRelationThreshold": "0",
        # Executors share a machine's cores already (see local_stack.environment.BLAS_THREADS).
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    }
    if master.startswith("local"):
        config |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    return config


def spark_for(
    context: dg.AssetExecutionContext, pyspark: SparkResource, scope: Scope, cells: Cells
) -> SparkSession | None:
    """The session that a run's cells are computed with; None means in this process.

    A refresh never gets one: starting it takes longer than most refreshes.
    """
    count, least = sum(len(stores) for stores in cells.values()), settings().spark_from_cells
    if scope.refresh_id is not None or least is None or count < least:
        return None
    spark = pyspark.computing()
    context.log.info(f"{count:,} cells: computed on the executors of {spark.sparkContext.master}")
    return spark


def run_by_stores(
    spark: SparkSession | None,
    function: Callable[[pd.DataFrame], pd.DataFrame],
    rows: pd.DataFrame,
    schema: pa.DataFrameSchema,
) -> pd.DataFrame:
    """Applies a function of core to all stores at once, or to groups of them on executors.

    Args:
        spark: Where to compute; None for this process.
        function: Makes rows from rows, each store's from its own alone; it is pickled together
            with what it holds, and sent once a job.
        rows: With a column `store`, all of a store's rows; dates are midnight.
        schema: The rows that `function` returns.

    Returns:
        The rows of all stores, by store and date.
    """
    if spark is None or rows.empty:
        return function(rows)
    import numpy as np
    import pyarrow as pa

    _, position = np.unique(rows["store"].to_numpy(), return_inverse=True)
    sent = pa.Table.from_pandas(
        rows.assign(**{GROUP: position // STORES_PER_GROUP}), preserve_index=False
    )
    dates = [
        field.with_type(pa.date32()) if pa.types.is_timestamp(field.type) else field
        for field in sent.schema
    ]
    types = {
        "int16": pa.int16(),
        "int32": pa.int32(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "datetime64[ns]": pa.date32(),
        "object": pa.list_(pa.float64()),
    }
    answer = pa.schema([(name, types[str(c.dtype)]) for name, c in schema.columns.items()])

    def of_group(group: pa.Table) -> pa.Table:
        made = function(group.drop_columns([GROUP]).to_pandas(**_FRAME))
        return pa.Table.from_pandas(made, schema=answer, preserve_index=False)

    computed = (
        spark.createDataFrame(sent.cast(pa.schema(dates)))
        .groupBy(GROUP)
        .applyInArrow(of_group, spark.createDataFrame(answer.empty_table()).schema)
        .toArrow()
    )
    key = [name for name in ("store", "date") if name in answer.names]
    return computed.to_pandas(**_FRAME).sort_values(key, ignore_index=True)
