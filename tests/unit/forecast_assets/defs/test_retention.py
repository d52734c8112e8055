"""Old runs go, a partition's newest materialization stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from forecast_assets.defs.retention import event_log_bytes, removable_runs, remove_old_runs
from forecast_assets.settings import Settings


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def made() -> None: ...


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run(instance: dg.DagsterInstance, partition: str) -> str:
    return dg.materialize([made], instance=instance, partition_key=partition).run_id


def test_a_run_that_holds_a_newest_materialization_stays(instance: dg.DagsterInstance) -> None:
    first_a, first_b, second_a = run(instance, "a"), run(instance, "b"), run(instance, "a")
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert list(removable_runs(instance, later)) == [first_a]
    assert list(removable_runs(instance, later - timedelta(days=1))) == []
    assert instance.has_run(first_b)
    assert instance.has_run(second_a)


def test_the_nightly_job_removes_only_what_is_old(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecast_assets.defs import retention

    first, second = run(instance, "a"), run(instance, "a")
    remove_old_runs(dg.build_op_context(instance=instance))
    assert instance.has_run(first), "it is younger than the settings' days"

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=91)

    monkeypatch.setattr(retention, "datetime", Later)
    remove_old_runs(dg.build_op_context(instance=instance))
    assert not instance.has_run(first)
    assert instance.has_run(second)
    assert instance.get_materialized_partitions(made.key) == {"a"}


def test_what_a_removed_run_printed_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forecast_assets.defs import retention

    instance = dg.DagsterInstance.local_temp(str(tmp_path))
    first, second = run(instance, "a"), run(instance, "a")
    logs = instance.compute_log_manager
    files = {}
    for run_id in (first, second):
        with logs.open_log_stream([run_id, "compute_logs", "step"], ComputeIOType.STDERR) as stream:
            stream.write("printed")
        (files[run_id],) = tmp_path.rglob(f"{run_id}/compute_logs/step.err")
    monkeypatch.setattr(retention, "removable_runs", lambda _instance, _before: iter([first]))
    remove_old_runs(dg.build_op_context(instance=instance))
    assert not files[first].exists()
    assert files[second].exists()


def test_a_year_of_daily_refreshes_of_1115_stores_takes_less_than_3_gb() -> None:
    keep = Settings.model_fields["keep_runs_days"].default
    assert event_log_bytes(1_115, 365, keep) == (90 + 10) * 6 * 1_115 * 2_500
    assert event_log_bytes(1_115, 365, keep) < 3e9
    assert event_log_bytes(1_115, 365, 365) > 6e9, "without retention"
    assert event_log_bytes(10, 5, keep) == 5 * 6 * 10 * 2_500


def test_a_months_last_run_stays_and_nothing_else_of_what_is_old(
    instance: dg.DagsterInstance,
) -> None:
    days = [run(instance, month) for month in "aaabbb"]
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert list(removable_runs(instance, later)) == [*days[:2], *days[3:5]]
