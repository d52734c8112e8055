"""Reports exactly the partitions that a run computed, in batches.

A range run covers a rectangle of partitions, but a refresh computes only some of them. Dagster
marks the whole rectangle when an asset's output is yielded, and skips what lies downstream when it
is not. So each asset yields an output that stands for no partition, and reports its partitions
one by one; Dagster writes them in batches, as it does its own. Both touch names that Dagster does
not document; tests/unit/forecast_assets/defs/test_reporting.py holds them to the pinned version.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import (
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)


def report(
    context: dg.AssetExecutionContext,
    materialized: Mapping[str, Mapping[str, Any]],
) -> Iterable[dg.Output[None]]:
    """Reports partitions as materialized, and lets what lies downstream run.

    Args:
        context: The asset's context.
        materialized: Partition key -> its metadata.

    Yields:
        The one output of the asset.
    """
    step = context.op_execution_context._step_execution_context
    batch, last = generate_event_batch_id(), len(materialized) - 1
    for index, (key, metadata) in enumerate(materialized.items()):
        DagsterEvent.asset_materialization(
            step,
            dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata),
            DagsterEventBatchMetadata(batch, index == last),
        )
    yield dg.Output(None, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
