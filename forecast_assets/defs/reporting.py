"""Reports exactly the partitions that a run computed, in batches.

A range run covers a rectangle of partitions, but a refresh computes only some of them. Dagster
marks the whole rectangle when an asset's output is yielded, and skips what lies downstream when it
is not. So each asset yields an output that stands for no partition, and reports its partitions
one by one; Dagster writes them in batches, as it does its own. All of it touches names that
Dagster does not document; tests/unit/forecast_assets/defs/test_reporting.py holds them to the
pinned version.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import (
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

Events = Iterator[dg.Output[None] | dg.AssetCheckResult]
"""What an asset yields: its one output, and what its check found."""

SCHEMA_CHECK = "schema"


class RefusedError(Exception):
    """Rows break their schema, so nothing of their partition was written."""


def schema_check(asset: str) -> dg.AssetCheckSpec:
    """The check of an asset's own rows, made before they are written."""
    return dg.AssetCheckSpec(
        SCHEMA_CHECK,
        asset=asset,
        blocking=True,
        description="Every row written has the columns, types and values that its schema names.",
    )


def validated(schema: "pa.DataFrameSchema", rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows, if they satisfy their schema.

    Raises:
        RefusedError: They do not; the message names the columns and the first rows at fault.
    """
    from pandera.errors import SchemaErrors

    try:
        return schema.validate(rows, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.head(5).to_dict("records")
        shown = "; ".join(
            f"{case['column']} {case['check']}: {case['failure_case']!r} (row {case['index']})"
            for case in cases
        )
        raise RefusedError(
            f"{len(errors.failure_cases)} values break the schema {schema.name!r}: {shown}"
        ) from errors


@contextmanager
def checking(found: list[dg.AssetCheckResult]) -> Iterator[None]:
    """Turns refused rows into a failed check; the transaction around them has been rolled back.

    Args:
        found: Receives what the check found: one entry.
    """
    try:
        yield
    except RefusedError as refused:
        found.append(
            dg.AssetCheckResult(check_name=SCHEMA_CHECK, passed=False, description=str(refused))
        )
    else:
        found.append(dg.AssetCheckResult(check_name=SCHEMA_CHECK, passed=True))


def report(
    context: dg.AssetExecutionContext,
    materialized: Mapping[str, Mapping[str, Any]],
) -> None:
    """Reports partitions as materialized.

    Args:
        context: The asset's context.
        materialized: Partition key -> its metadata.
    """
    step = context.op_execution_context._step_execution_context
    batch, last = generate_event_batch_id(), len(materialized) - 1
    for index, (key, metadata) in enumerate(materialized.items()):
        DagsterEvent.asset_materialization(
            step,
            dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata),
            DagsterEventBatchMetadata(batch, index == last),
        )


_postponed: list[tuple[dg.AssetExecutionContext, Mapping[str, Mapping[str, Any]]]] = []


def postpone(
    context: dg.AssetExecutionContext, materialized: Mapping[str, Mapping[str, Any]]
) -> None:
    """Keeps a report for a later step of the same run, in the same process."""
    _postponed.append((context, materialized))


def report_postponed(context: dg.AssetExecutionContext) -> None:
    """Makes the reports that earlier steps of this run have postponed, in their order."""
    while _postponed:
        earlier, materialized = _postponed.pop(0)
        # Of a run that has failed in this process (in tests), nothing is reported.
        if earlier.run.run_id == context.run.run_id:
            asset = earlier.asset_key.to_user_string()
            context.log.info(f"recording {len(materialized):,} partitions of {asset}")
            report(earlier, materialized)


def sum_up(context: dg.AssetExecutionContext, assets: Iterable[str]) -> None:
    """Adds what was reported to Dagster's summary of each asset's partitions.

    Dagster does so when somebody opens the asset in the UI, who waits for seconds where the whole
    history is new.

    Args:
        context: The context of an asset with the same partitions as all of them.
        assets: Their names.
    """
    for asset in assets:
        get_and_update_asset_status_cache_value(
            context.instance, dg.AssetKey(asset), context.assets_def.partitions_def
        )


def computed() -> dg.Output[None]:
    """The output of an asset, which marks no partition and lets what lies downstream run."""
    return dg.Output(None, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
