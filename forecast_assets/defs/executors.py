"""Runs the library's functions on Spark's executors when a run is too large for one process.

The run's own process still reads each chunk's rows and replaces them in its transaction; only the
computation moves to the executors. A function that treats every store separately returns the same
rows either way, bit for bit if both use the same number of BLAS threads. The Spark session itself
is in `resources.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forecast_assets.defs.schema_checks import validate
from forecast_assets.planning.partition_cells import count
from forecast_assets.settings import settings

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd
    import pandera.pandas as pa
    from pyspark.sql import SparkSession

    from forecast_assets.defs.resources import SparkResource
    from forecast_assets.planning.partition_cells import StorePeriods
    from forecast_assets.planning.scope import Scope
    from warehouse.forecaster import RowFunction, Runner

#: Stores per call on an executor. Each call has a fixed cost, and its frame must fit in memory.
STORES_PER_GROUP = 50

GROUP = "store_group"

#: How Arrow becomes a frame: dates are midnight timestamps, as everywhere in the library.
_TO_PANDAS = {"date_as_object": False, "coerce_temporal_nanoseconds": True}


def spark_for(
    context: dg.AssetExecutionContext, pyspark: SparkResource, scope: Scope, cells: StorePeriods
) -> SparkSession | None:
    """Return the session to compute some cells with; None means in this process.

    A refresh never gets one: starting it takes longer than most refreshes.
    """
    threshold = settings().spark_from_cells
    if scope.refresh_id is not None or threshold is None or count(cells) < threshold:
        return None
    spark = pyspark.computing()
    context.log.info(
        f"computing {count(cells):,} partitions on the executors of {spark.sparkContext.master}"
    )
    return spark


def runner(spark: SparkSession | None, schema: pa.DataFrameSchema) -> Runner:
    """Return a function that computes rows with `run_by_stores` and validates them."""

    def run(function: RowFunction, rows: pd.DataFrame) -> pd.DataFrame:
        return validate(schema, run_by_stores(spark, function, rows, schema))

    return run


def run_by_stores(
    spark: SparkSession | None,
    function: RowFunction,
    rows: pd.DataFrame,
    schema: pa.DataFrameSchema,
) -> pd.DataFrame:
    """Apply a function to all stores at once, or to groups of stores on executors.

    Args:
        spark: Where to compute; None means in this process.
        function: Computes rows from rows, separately for each store. It is pickled together with
            its bound arguments and sent once per job.
        rows: All rows of each store, with a column `store`; dates are midnight timestamps.
        schema: The schema of the rows that `function` returns.

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
    returned = pa.schema([(name, types[str(c.dtype)]) for name, c in schema.columns.items()])

    def compute_group(group: pa.Table) -> pa.Table:
        result = function(group.drop_columns([GROUP]).to_pandas(**_TO_PANDAS))
        return pa.Table.from_pandas(result, schema=returned, preserve_index=False)

    computed = (
        spark.createDataFrame(sent.cast(pa.schema(dates)))
        .groupBy(GROUP)
        .applyInArrow(compute_group, spark.createDataFrame(returned.empty_table()).schema)
        .toArrow()
    )
    key = [name for name in ("store", "date") if name in returned.names]
    return computed.to_pandas(**_TO_PANDAS).sort_values(key, ignore_index=True)
