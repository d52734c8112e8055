"""Runs start in forked processes, end when asked, and are taken for dead only when they are."""

import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRunStatus

from forecast_assets.instance.run_launcher import NICENESS_TAG, PROCESS_TAG, ForkingRunLauncher
from tests.support.imports import loaded_by

ROOT = Path(__file__).parents[4]
SECONDS = 60.0


@dg.op
def noted(context: dg.OpExecutionContext) -> None:
    context.instance.add_run_tags(context.run_id, {"pid": str(os.getpid())})


@dg.job(executor_def=dg.in_process_executor)
def quick() -> None:
    noted()


@dg.job(executor_def=dg.multiprocess_executor)
def spread() -> None:
    noted()


@dg.job(executor_def=dg.in_process_executor)
def endless() -> None:
    @dg.op
    def waits() -> None:
        time.sleep(10 * SECONDS)

    waits()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = yaml.safe_load((ROOT / "dagster.yaml").read_text())["run_launcher"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def launched(
    instance: dg.DagsterInstance, job: dg.JobDefinition, tags: dict[str, str] | None = None
) -> str:
    """Launches a job of this file as the daemon would; the run's id."""
    code = dg.reconstructable(job)
    run = instance.create_run_for_job(job, job_code_origin=code.get_python_origin(), tags=tags)
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def health(instance: dg.DagsterInstance, run_id: str) -> WorkerStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return instance.run_launcher.check_run_worker_health(run).status


def place(instance: dg.DagsterInstance, run_id: str) -> tuple[str, int]:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    machine, pid, _ = run.tags[PROCESS_TAG].split()
    return machine, int(pid)


def test_a_run_has_a_process_of_its_own(instance: dg.DagsterInstance) -> None:
    run_id = launched(instance, quick)
    wait(lambda: status(instance, run_id) is DagsterRunStatus.SUCCESS)
    machine, pid = place(instance, run_id)
    run = instance.get_run_by_id(run_id)
    assert machine == platform.node()
    assert run is not None and run.tags["pid"] == str(pid) != str(os.getpid())
    wait(lambda: not psutil.pid_exists(pid))


def test_a_run_may_have_processes_for_its_steps(instance: dg.DagsterInstance) -> None:
    run_id = launched(instance, spread)
    wait(lambda: status(instance, run_id) is DagsterRunStatus.SUCCESS)
    run = instance.get_run_by_id(run_id)
    assert run is not None and run.tags["pid"] != str(place(instance, run_id)[1])


def test_a_run_gives_way_to_others_as_its_tag_says(instance: dg.DagsterInstance) -> None:
    for tags, niceness in ((None, os.nice(0)), ({NICENESS_TAG: "3"}, os.nice(0) + 3)):
        run_id = launched(instance, endless, tags)
        wait(lambda run_id=run_id: status(instance, run_id) is DagsterRunStatus.STARTED)
        assert psutil.Process(place(instance, run_id)[1]).nice() == min(niceness, 19)
        assert instance.run_launcher.terminate(run_id)


def test_a_run_ends_when_asked(instance: dg.DagsterInstance) -> None:
    run_id = launched(instance, endless)
    wait(lambda: status(instance, run_id) is DagsterRunStatus.STARTED)
    assert health(instance, run_id) is WorkerStatus.RUNNING
    assert instance.run_launcher.terminate(run_id)
    wait(lambda: status(instance, run_id) is DagsterRunStatus.CANCELED)
    assert not instance.run_launcher.terminate(run_id), "it has ended"


def test_a_run_whose_process_is_gone_is_found(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = launched(instance, endless)
    wait(lambda: status(instance, run_id) is DagsterRunStatus.STARTED)
    with monkeypatch.context() as patched:
        # A process of this number that began an hour after the launch is another one.
        patched.setattr("forecast_assets.instance.run_launcher.CLOCK_TOLERANCE_SECONDS", -3_600)
        assert health(instance, run_id) is WorkerStatus.NOT_FOUND
        assert not instance.run_launcher.terminate(run_id)
    os.kill(place(instance, run_id)[1], signal.SIGKILL)
    wait(lambda: health(instance, run_id) is WorkerStatus.NOT_FOUND)


@pytest.mark.parametrize("tags", [{}, {PROCESS_TAG: "elsewhere 1 0"}])
def test_nothing_is_said_of_runs_that_live_elsewhere(
    instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    run = instance.create_run_for_job(quick, tags=tags, status=DagsterRunStatus.STARTED)
    assert health(instance, run.run_id) is WorkerStatus.RUNNING
    assert not instance.run_launcher.terminate(run.run_id)


def test_what_is_loaded_beforehand_exists_and_starts_no_thread() -> None:
    """A fork has one thread: locks that others held would stay held in it for ever.

    Arrow's allocator has a thread, and makes itself ready for forks.
    """
    code = (
        "from pathlib import Path; from forecast_assets.instance.run_launcher import PRELOADED; "
        "[__import__(name) for name in PRELOADED]; "
        "tasks = [task.read_text().strip() for task in Path('/proc/self/task').glob('*/comm')]; "
        "assert len([name for name in tasks if name != 'jemalloc_bg_thd']) == 1, tasks"
    )
    project = ("forecast_assets.definitions", "forecast_assets.settings", "streaming_job")
    assert loaded_by(code, "pandas", "dagster_postgres", *project) == ["pandas", "dagster_postgres"]


def test_the_instance_watches_its_runs_and_keeps_room_for_a_refresh() -> None:
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert config["run_monitoring"]["enabled"]
    assert config["run_monitoring"]["poll_interval_seconds"] <= 10
    assert ForkingRunLauncher().supports_check_run_worker_health
    runs = config["concurrency"]["runs"]
    limits = {limit["key"]: limit["limit"] for limit in runs["tag_concurrency_limits"]}
    assert limits["forecast/refresh"] == 1
    assert limits["dagster/backfill"] + limits["forecast/refresh"] < runs["max_concurrent_runs"]
