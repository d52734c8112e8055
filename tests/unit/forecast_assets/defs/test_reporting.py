"""Holds the undocumented names that `reporting` uses to what the pinned Dagster does."""

from collections.abc import Iterator
from unittest.mock import patch

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from forecast_assets.defs.asset_options import ROWLESS
from forecast_assets.defs.reporting import (
    cache_partition_status,
    output_without_partitions,
    report,
)
from tests.support.partitions import COMPUTED, PARTITIONS, RANGE


@dg.asset(partitions_def=PARTITIONS, **ROWLESS)
def upstream(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    report(context, {key: {"dagster/row_count": 5} for key in COMPUTED})
    yield output_without_partitions()


@dg.asset(partitions_def=PARTITIONS, deps=[upstream], **ROWLESS)
def downstream(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    report(context, {})
    yield output_without_partitions()


def test_only_what_was_computed_is_materialized_and_the_rest_goes_on(
    instance: dg.DagsterInstance,
) -> None:
    result = dg.materialize([upstream, downstream], instance=instance, tags=RANGE)
    assert result.success
    assert not [e for e in result.all_events if e.event_type_value == "STEP_SKIPPED"]
    assert instance.get_materialized_partitions(upstream.key) == set(COMPUTED)
    assert instance.get_materialized_partitions(downstream.key) == set()


def test_metadata_belongs_to_its_partition(instance: dg.DagsterInstance) -> None:
    dg.materialize([upstream], instance=instance, tags=RANGE)
    record = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=upstream.key, asset_partitions=[COMPUTED[1]]), limit=1
    ).records[0]
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["dagster/row_count"].value == 5


def test_materializations_are_written_in_one_batch(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "2000")
    storage = instance.event_log_storage
    with patch.object(storage, "store_event_batch", wraps=storage.store_event_batch) as batch:
        dg.materialize([upstream], instance=instance, tags=RANGE)
    sizes = [
        len(call.args[0])
        for call in batch.call_args_list
        if call.args[0][0].get_dagster_event().event_type_value == "ASSET_MATERIALIZATION"
    ]
    assert sizes == [len(COMPUTED)]


@dg.asset(partitions_def=PARTITIONS, deps=[upstream], **ROWLESS)
def last(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    yield output_without_partitions()
    cache_partition_status(context, ["upstream"])


def test_a_run_leaves_nothing_to_sum_up_for_whoever_opens_the_ui(
    instance: dg.DagsterInstance,
) -> None:
    dg.materialize([upstream, last], instance=instance, tags=RANGE)
    (record,) = instance.get_asset_records([upstream.key])
    summary = record.asset_entry.cached_status
    assert summary is not None
    assert summary.latest_storage_id == record.asset_entry.last_materialization_storage_id
    with patch.object(instance, "get_materialized_partitions") as read_again:
        found = get_and_update_asset_status_cache_value(instance, upstream.key, PARTITIONS)
    assert not read_again.called
    assert found is not None
    subset = found.deserialize_materialized_partition_subsets(PARTITIONS)
    assert set(subset.get_partition_keys()) == set(COMPUTED)
