"""Reports exactly the partitions that a run computed, in batches.

A range run covers a rectangle of partitions, but a refresh computes only some of them. If an asset
yields a normal output, Dagster marks the whole rectangle as materialized; if it yields none,
Dagster skips everything downstream. So each asset yields an output that belongs to no partition
and reports its partitions one by one. Dagster writes these reports in batches, like its own.

This module uses names that Dagster does not document;
tests/unit/forecast_assets/defs/test_reporting.py checks them against the pinned version.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import (
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

#: What an asset yields: its one output and the results of its checks.
Events = Iterator[dg.Output[None] | dg.AssetCheckResult]

#: Partition key -> the metadata of its materialization.
Materialized = dict[str, dict[str, Any]]


def report(
    context: dg.AssetExecutionContext,
    materialized: Mapping[str, Mapping[str, Any]],
) -> None:
    """Report partitions as materialized.

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


def cache_partition_status(context: dg.AssetExecutionContext, assets: Iterable[str]) -> None:
    """Update Dagster's cached summary of the assets' partitions.

    Otherwise Dagster does this when somebody opens the asset in the UI. After a first load of the
    whole history that takes seconds.

    Args:
        context: The context of an asset with the same partitions as the others.
        assets: The names of the assets.
    """
    for asset in assets:
        get_and_update_asset_status_cache_value(
            context.instance, dg.AssetKey(asset), context.assets_def.partitions_def
        )


def output_without_partitions() -> dg.Output[None]:
    """Return an output that marks no partition as materialized and lets downstream assets run."""
    return dg.Output(None, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
