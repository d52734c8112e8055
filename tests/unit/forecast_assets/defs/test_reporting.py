"""Holds the two undocumented names that `reporting` uses to what the pinned Dagster does."""

from collections.abc import Iterator
from unittest.mock import patch

import dagster as dg
import pytest

from forecast_assets.defs.reporting import report

PARTITIONS = dg.MultiPartitionsDefinition(
    {
        "date": dg.MonthlyPartitionsDefinition("2015-01-01", end_date="2015-08-01"),
        "store": dg.DynamicPartitionsDefinition(name="store"),
    }
)
COMPUTED = ["2015-06-01|3", "2015-06-01|40", "2015-07-01|7"]


@dg.asset(
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    dagster_type=dg.Nothing,
)
def upstream(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    yield from report(context, {key: {"dagster/row_count": 5} for key in COMPUTED})


@dg.asset(
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    dagster_type=dg.Nothing,
    deps=[upstream],
)
def downstream(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
    yield from report(context, {})


RANGE = {
    "dagster/asset_partition_range_start": "2015-06-01|1",
    "dagster/asset_partition_range_end": "2015-07-01|50",
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions("store", [str(store) for store in range(1, 51)])
        yield made


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
